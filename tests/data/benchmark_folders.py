"""Small folders laid out as the published benchmark data."""

import numpy as np
from PIL import Image

MVTEC = {"train/good": 3, "test/good": 2, "test/crack": 2, "test/scratch_deep": 1}
PACS = {"photo/dog": 3, "photo/person": 1, "cartoon/house": 2, "sketch/dog": 1}
MNIST_M = {"train": [4, 1], "test": [7, 3, 1, 3]}


def pixels(*seed, shape=(32, 32, 3)):
    return np.random.default_rng([*b"/".join(str(part).encode() for part in seed)]).integers(0, 256, shape, np.uint8)


def save(array, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def write_mvtec(root, category="bottle"):
    """A category with images of 40x36 pixels, height by width, one of them grey."""
    for folder, n in MVTEC.items():
        for index in range(n):
            grey = (folder, index) == ("train/good", 1)
            save(
                pixels(folder, index, shape=(40, 36) if grey else (40, 36, 3)),
                root / category / folder / f"{index:03d}.png",
            )
            if folder.startswith("test/") and folder != "test/good":
                mask = np.zeros((40, 36), np.uint8)
                mask[index : index + 5, 7:9] = 255
                save(mask, root / category / folder.replace("test", "ground_truth") / f"{index:03d}_mask.png")
    return root


def write_mask(path, *, top=0):
    mask = np.zeros((40, 36), np.uint8)
    mask[top : top + 5, 7:9] = 255
    save(mask, path)


def write_parts(root, *names):
    for name in names:
        save(pixels(name, shape=(40, 36, 3)), root / name)


def write_mvtec_loco(root, category="pushpins"):
    """A category with one image of two masks."""
    folder = root / category
    write_parts(folder, *(f"train/good/{i:03d}.png" for i in range(3)), "validation/good/000.png", "test/good/000.png")
    for kind, n in (("logical_anomalies", 2), ("structural_anomalies", 1)):
        for index in range(n):
            write_parts(folder, f"test/{kind}/{index:03d}.png")
            for top in range(2 - index):
                write_mask(folder / "ground_truth" / kind / f"{index:03d}" / f"{top:03d}.png", top=20 * top)
    return root


def write_mvtec_ad_2(root, category="vial"):
    folder = root / category
    write_parts(folder, *(f"train/good/{i:03d}_regular.png" for i in range(3)), "validation/good/100_regular.png")
    write_parts(folder, "test_public/good/200_regular.png", "test_private/400_regular.png")
    for name in ("300_regular", "301_overexposed"):
        write_parts(folder, f"test_public/bad/{name}.png")
        write_mask(folder / "test_public" / "ground_truth" / "bad" / f"{name}_mask.png")
    return root


def write_visa(root, product="pcb3"):
    """A product with its table: two images that train, two that test."""
    rows = [("train", "normal", "Normal/0001"), ("train", "normal", "Normal/0000"), ("test", "normal", "Normal/0002")]
    lines = ["object,split,label,image,mask"]
    for split, label, name in (*rows, ("test", "anomaly", "Anomaly/000")):
        image, mask = f"{product}/Data/Images/{name}.JPG", ""
        write_parts(root, image)
        if label == "anomaly":
            mask = f"{product}/Data/Masks/{name}.png"
            write_mask(root / mask)
        lines.append(f"{product},{split},{label},{image},{mask}")
    (root / "split_csv").mkdir()
    (root / "split_csv" / "1cls.csv").write_text("\n".join(lines) + "\n")
    return root


def write_pacs(root):
    """A few images in some of the domains and classes, of every type of file."""
    suffixes = iter((".png", ".jpg", ".tif", ".webp", ".bmp", ".gif", ".png"))
    for folder, n in PACS.items():
        for index in range(n):
            save(pixels(folder, index), root / folder / f"pic_{index:03d}{next(suffixes)}")
    return root


def write_mnist_m(root, *, parts=("train", "test")):
    for part in parts:
        names = [f"{index:08d}.png" for index in range(len(MNIST_M[part]))]
        for index, name in enumerate(names):
            save(pixels(part, index), root / f"mnist_m_{part}" / name)
        lines = [f"{name} {label}\n" for name, label in zip(names, MNIST_M[part])]
        (root / f"mnist_m_{part}_labels.txt").write_text("".join(lines))
    return root


def write_photographs(root):
    """Two photographs that tell where a patch was cut: red is the row, green the column, blue the photograph."""
    for number, (h, w) in enumerate([(40, 60), (33, 29)]):
        photograph = np.zeros((h, w, 3), np.uint8)
        photograph[..., 0] = np.arange(h)[:, None]
        photograph[..., 1] = np.arange(w)
        photograph[..., 2] = number
        save(photograph, root / f"photograph{number}.png")
    return root
