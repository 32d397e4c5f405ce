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
