import os

import numpy as np
import pytest
from PIL import Image

from gnl_jax.data.folder import FolderOptions, category_task, folder_task, load_test, mvtec_task, pacs_task
from gnl_jax.data.layouts import find_layout
from gnl_jax.data.masks import read_mask
from gnl_jax.data.pixels import read_image
from gnl_jax.images.corruptions import corrupt, corruption_rng
from gnl_jax.images.resize import Geometry, resize, resize_nearest

SIZE = 32


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(root, *names, low=0, high=256):
    for name in names:
        rng = np.random.default_rng(len(name) + sum(name.encode()))
        h, w = rng.integers(33, 50, 2)
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
        Image.fromarray(rng.integers(low, high, (h, w, 3)).astype(np.uint8)).save(os.path.join(root, name))


def write_mask(root, name, shape=(40, 44)):
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2] = 255
    os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
    Image.fromarray(mask).save(os.path.join(root, name))


@pytest.fixture
def mvtec(tmp_path):
    """A root with the category "nut", and the same category in another light under another root."""
    root = str(tmp_path / "mvtec")
    write(root, *(f"nut/train/good/{i}.png" for i in range(4)))
    for folder in (root, str(tmp_path / "lamp")):
        write(folder, "nut/test/good/a.png", "nut/test/hole/b.png", "nut/test/hole/c.png", "nut/test/rust/d.png")
    for name in ("hole/b", "hole/c", "rust/d"):
        write_mask(root, f"nut/ground_truth/{name}_mask.png")
    return root


def test_a_category_of_mvtec(mvtec):
    task = mvtec_task(mvtec, "nut", options=FolderOptions(size=SIZE))
    assert (task.dataset, task.normal, list(task.tests)) == ("mvtec", "nut", ["id"])
    assert task.train_names == tuple(f"train/good/{i}.png" for i in range(4))
    expected = [resize(read_image(f"{mvtec}/nut/{name}"), SIZE) for name in task.train_names]
    np.testing.assert_array_equal(task.train, expected)
    test = task.load_test("id")
    assert test.names == ("test/good/a.png", "test/hole/b.png", "test/hole/c.png", "test/rust/d.png")
    np.testing.assert_array_equal(test.anomalous, [False, True, True, True])
    assert not test.masks[0].any()
    assert test.masks[1:, : SIZE // 2].all()
    assert not test.masks[1:, SIZE // 2 :].any()


@pytest.mark.parametrize("corrupt_at", ["native", "resized"])
@pytest.mark.parametrize("shift", ["brightness", "gaussian_noise", "defocus_blur"])
def test_corruptions_at_native_size_or_after_the_resize(shift, corrupt_at, mvtec):
    options = FolderOptions(size=SIZE, shifts=(shift,), severity=4, corrupt_at=corrupt_at, seed=7)
    task = mvtec_task(mvtec, "nut", options=options)
    assert list(task.tests) == ["id", shift]
    for _ in range(2):  # decoded, then from the cache
        test = task.load_test(shift)
        for image, name in zip(test.images, test.names):
            rng, native = corruption_rng(7, name), read_image(f"{mvtec}/nut/{name}")
            if corrupt_at == "native":
                expected = resize(corrupt(rng, native, shift, 4), SIZE)
            else:
                expected = corrupt(rng, resize(native, SIZE), shift, 4)
            np.testing.assert_array_equal(image, expected)
        clean = task.load_test("id")
        np.testing.assert_array_equal(test.anomalous, clean.anomalous)
        np.testing.assert_array_equal(test.masks, clean.masks)


@pytest.mark.parametrize("corrupt_at", ["native", "resized"])
def test_images_and_masks_are_cut_alike(corrupt_at, mvtec):
    """Corrupted before the resize, or after their centre was cut out."""
    geometry = Geometry(21, 30, "lanczos")
    options = FolderOptions(size=geometry, shifts=("gaussian_noise", "rotation"), corrupt_at=corrupt_at, seed=7)
    task = mvtec_task(mvtec, "nut", options=options)
    expected = [resize(read_image(f"{mvtec}/nut/{name}"), geometry) for name in task.train_names]
    np.testing.assert_array_equal(task.train, expected)
    clean = task.load_test("id")
    for name, mask in zip(clean.names, clean.masks):
        path = f"{mvtec}/nut/ground_truth/{name.removeprefix('test/').replace('.png', '_mask.png')}"
        whole = read_mask(path) if os.path.exists(path) else np.zeros((9, 9), bool)
        np.testing.assert_array_equal(mask, resize_nearest(whole, 30)[4:25, 4:25])
    assert clean.masks.any()
    for shift in options.shifts:
        test = task.load_test(shift)
        assert (test.images.shape[1:], test.masks.shape[1:]) == ((21, 21, 3), (21, 21))
        for image, name in zip(test.images, test.names):
            rng, native = corruption_rng(7, name), read_image(f"{mvtec}/nut/{name}")
            if corrupt_at == "native":
                expected = resize(corrupt(rng, native, shift, 3), geometry)
            else:
                expected = corrupt(rng, resize(native, geometry), shift, 3)
            np.testing.assert_array_equal(image, expected)


def test_noise_depends_on_seed_severity_and_name_alone(mvtec):
    files = find_layout(f"{mvtec}/nut").test
    loaded = {
        (severity, seed, limit): load_test(
            files, FolderOptions(size=SIZE, severity=severity, seed=seed, limit_test=limit), shift="gaussian_noise"
        )
        for severity, seed, limit in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 3)]
    }
    images = [loaded[key].images for key in [(1, 0, 0), (2, 0, 0), (1, 1, 0)]]
    assert len({image.tobytes() for image in images}) == 3
    few, every = loaded[1, 0, 3], loaded[1, 0, 0]
    assert len(few.names) == 3
    for image, name in zip(few.images, few.names):
        np.testing.assert_array_equal(image, every.images[every.names.index(name)])


@pytest.mark.parametrize("corrupt_at", ["native", "resized"])
def test_a_mask_moves_with_its_image(corrupt_at, tmp_path):
    """The defect is the only white there is, so its mask is where a moved image is white."""
    for name in ("train/good/0", "test/good/0", "test/hole/1", "test/hole/2"):
        image = np.zeros((96, 128, 3), np.uint8)
        if "hole" in name:
            image[30:70, 20:60] = 255
            write_array(tmp_path / "nut" / f"ground_truth/{name[5:]}_mask.png", image[..., 0])
        write_array(tmp_path / "nut" / f"{name}.png", image)
    shifts = ("rotation:5", "translation:5", "vignette:5")
    options = FolderOptions(size=64, shifts=shifts, corrupt_at=corrupt_at, seed=3)
    task = mvtec_task(str(tmp_path), "nut", options=options)
    clean = task.load_test("id")
    for shift in shifts:
        test = task.load_test(shift)
        for image, mask, before, name in zip(test.images, test.masks, clean.masks, test.names):
            agreement = np.mean(mask == (image[..., 0] > 127))
            moved = np.mean(mask != before)
            if "good" in name:
                assert not mask.any()
            elif shift.startswith("vignette"):
                assert moved == 0
            else:
                assert agreement > 0.99
                assert moved > 0.01


def write_array(path, array):
    os.makedirs(path.parent, exist_ok=True)
    Image.fromarray(array).save(path)


def test_several_severities_and_line_shifts_at_once(mvtec):
    shifts = ("contrast", "contrast:1", "contrast:5", "gain_up:2", "rotation")
    task = mvtec_task(mvtec, "nut", options=FolderOptions(size=SIZE, shifts=shifts, severity=4, seed=7))
    assert list(task.tests) == ["id", *shifts]
    for shift, name, severity in (
        ("contrast", "contrast", 4),
        ("contrast:1", "contrast", 1),
        ("gain_up:2", "gain_up", 2),
    ):
        test = task.load_test(shift)
        native = read_image(f"{mvtec}/nut/{test.names[1]}")
        np.testing.assert_array_equal(
            test.images[1], resize(corrupt(corruption_rng(7, test.names[1]), native, name, severity), SIZE)
        )


def test_a_training_set_over_the_limit_is_read_when_needed(mvtec, caplog):
    caplog.set_level("INFO", logger="absl")
    kept = mvtec_task(mvtec, "nut", options=FolderOptions(size=SIZE))
    for cache_dir, words in ((None, "again from the cache"), ("", "as there is no cache")):
        options = FolderOptions(size=SIZE, memory_mb=1e-3, cache_dir=cache_dir)
        task = mvtec_task(mvtec, "nut", options=options)
        assert words in caplog.text
        assert not isinstance(task.train, np.ndarray)
        assert len(task.train) == 4
        assert task.train_names == kept.train_names
        np.testing.assert_array_equal(task.train[np.array([2, 0, 2])], kept.train[[2, 0, 2]])


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    write(str(tmp_path / "own"), *(f"{i}.png" for i in range(3)))
    os.rename(tmp_path / "own" / "0.png", tmp_path / "own" / name)
    options = FolderOptions(size=SIZE, shifts=("gaussian_noise",))
    test = folder_task(str(tmp_path / "own"), options=options).tests["gaussian_noise"]()
    assert test.names == ("1.png",)
    os.rename(tmp_path / "own" / "1.png", tmp_path / "own" / "z.png")
    test = folder_task(str(tmp_path / "own"), options=options).tests["gaussian_noise"]()
    assert test.names == ("2.png",)
    write(str(tmp_path / "bad"), "1.png")
    os.rename(tmp_path / "bad" / "1.png", tmp_path / "bad" / name)
    test = folder_task(str(tmp_path / "own"), bad=str(tmp_path / "bad"), options=options).load_test("gaussian_noise")
    assert test.names == ("2.png", f"bad/{name}")


def test_shifted_folders_with_or_without_categories(mvtec, tmp_path):
    lamp = str(tmp_path / "lamp")
    options = FolderOptions(size=SIZE, shifts=("contrast",), shifted=(f"a={lamp}", f"b={lamp}/nut"))
    task = mvtec_task(mvtec, "nut", options=options)
    assert list(task.tests) == ["id", "contrast", "a", "b"]
    for name in ("a", "b"):
        test = task.load_test(name)
        np.testing.assert_array_equal(test.images, task.load_test("id").images)
        assert test.masks is None
    own = FolderOptions(size=SIZE, shifted=(f"other = lamp={lamp}/nut",))
    with pytest.raises(ValueError, match="cannot list the folder ' lamp="):
        folder_task(f"{mvtec}/nut", options=own)


def test_a_flat_folder_with_bad_images_and_an_own_shift(tmp_path):
    write(tmp_path / "good", *(f"{i:02d}.png" for i in range(11)))
    write(tmp_path / "bad", "x.png", "y/z.png")
    write(tmp_path / "night", "good/1.png", "hole/2.png", high=99)
    options = FolderOptions(size=SIZE, shifted=(f"night={tmp_path}/night",))
    task = folder_task(str(tmp_path / "good"), bad=str(tmp_path / "bad"), options=options)
    assert (task.dataset, task.normal, task.train.shape) == ("folder/good", "good", (9, SIZE, SIZE, 3))
    test = task.load_test("id")
    assert test.names == ("00.png", "10.png", "bad/x.png", "bad/y/z.png")
    np.testing.assert_array_equal(test.anomalous, [False, False, True, True])
    assert test.masks is None
    assert task.load_test("night").images.max() < 99


def test_pacs(tmp_path):
    root = str(tmp_path / "pacs")
    write(root, *(f"photo/{name}/{i:02d}.png" for name in ("dog", "horse") for i in range(12)))
    write(
        root, *(f"{domain}/{name}/{i}.png" for domain in ("art", "sketch") for name in ("dog", "horse") for i in "12")
    )
    options = FolderOptions(size=SIZE, shifts=("sketch", "contrast", "art"), limit_train=5)
    task = pacs_task(root, "horse", options=options)
    assert list(task.tests) == ["id", "sketch", "contrast", "art"]
    assert len(task.train) == 5
    assert all(name.startswith("photo/horse/") for name in task.train_names)
    np.testing.assert_array_equal(task.load_test("id").anomalous, [True, True, False, False])
    sketch = task.load_test("sketch")
    assert sketch.names == ("sketch/dog/1.png", "sketch/dog/2.png", "sketch/horse/1.png", "sketch/horse/2.png")
    np.testing.assert_array_equal(sketch.images[3], resize(read_image(f"{root}/sketch/horse/2.png"), SIZE))
    tenth = pacs_task(root, "horse", ood="tenth", options=options)
    assert tenth.load_test("art").names == ("art/dog/1.png", "art/horse/1.png")
    learned_elsewhere = pacs_task(root, "dog", domain="art", options=FolderOptions(size=SIZE, shifts=("photo",)))
    assert learned_elsewhere.train_names == ("art/dog/2.png",)
    with pytest.raises(ValueError, match=r"'pacs' has no \['photo'\], expected some of \['art', 'sketch', "):
        pacs_task(root, "dog", options=FolderOptions(size=SIZE, shifts=("photo",)))


def test_unreadable_images_are_left_out_with_their_labels_and_masks(mvtec):
    for name in ("train/good/1.png", "test/good/a.png"):
        with open(f"{mvtec}/nut/{name}", "wb") as file:
            file.write(b"broken")
    with pytest.raises(ValueError, match=r"train/good/1\.png"):
        mvtec_task(mvtec, "nut", options=FolderOptions(size=SIZE))
    options = FolderOptions(size=SIZE, skip_unreadable=True, shifts=("contrast",))
    task = mvtec_task(mvtec, "nut", options=options)
    assert task.train_names == tuple(f"train/good/{i}.png" for i in (0, 2, 3))
    test = task.tests["contrast"]()
    assert test.anomalous.all()
    assert test.masks.any(axis=(1, 2)).all()
    assert test.names == ("test/hole/b.png", "test/hole/c.png", "test/rust/d.png")
    assert len(test.images) == 3


@pytest.mark.parametrize("corrupt_at", ["native", "resized"])
def test_defects_without_a_mask_are_tested_and_left_out_of_pixel_metrics(corrupt_at, mvtec, caplog):
    os.unlink(f"{mvtec}/nut/ground_truth/hole/c_mask.png")
    options = FolderOptions(size=SIZE, shifts=("rotation",), corrupt_at=corrupt_at)
    task = mvtec_task(mvtec, "nut", options=options)
    assert "1 of 3 defective images have no mask, such as test/hole/c.png; pixel metrics are over the" in caplog.text
    for name in task.tests:
        test = task.load_test(name)
        assert test.anomalous.tolist() == [False, True, True, True]
        assert test.masked.tolist() == [True, True, False, True]
        assert not test.masks[[0, 2]].any()
        _, truth = test.pixels(np.zeros((4, SIZE, SIZE)))
        np.testing.assert_array_equal(truth, test.masks[[0, 1, 3]])


def test_a_mask_that_cannot_be_read_stops_or_is_not_known(mvtec):
    with open(f"{mvtec}/nut/ground_truth/hole/c_mask.png", "wb") as file:
        file.write(b"broken")
    with pytest.raises(ValueError, match=r"(?s)1 of 3 masks .*hole/c_mask\.png"):
        load_test(find_layout(f"{mvtec}/nut").test, FolderOptions(size=SIZE))
    test = load_test(find_layout(f"{mvtec}/nut").test, FolderOptions(size=SIZE, skip_unreadable=True))
    assert test.masked.tolist() == [True, True, False, True]


def test_categories_of_other_benchmarks(tmp_path):
    write(tmp_path, "01/train/ok/0.bmp", "01/test/ok/1.bmp", "01/test/ko/2.bmp")
    write_mask(tmp_path, "01/ground_truth/ko/2.png")
    task = category_task("btad", str(tmp_path), "01", options=FolderOptions(size=SIZE))
    assert (task.dataset, task.normal, task.train_names) == ("btad", "01", ("train/ok/0.bmp",))
    test = task.load_test("id")
    assert test.names == ("test/ko/2.bmp", "test/ok/1.bmp")
    assert test.masks.any(axis=(1, 2)).tolist() == [True, False]
    assert test.masked is None


def test_a_dark_folder_is_said_once(tmp_path, caplog):
    write(tmp_path / "dark", *(f"{i}.png" for i in range(3)), high=20)
    folder_task(str(tmp_path / "dark"), options=FolderOptions(size=SIZE))
    assert caplog.text.count("in the whole folder") == 1
    write(tmp_path / "bright", *(f"{i}.png" for i in range(3)))
    folder_task(str(tmp_path / "bright"), options=FolderOptions(size=SIZE))
    assert caplog.text.count("in the whole folder") == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"severity": 6}, "severity: got 6"),
        ({"corrupt_at": "late"}, "corrupt_at: got 'late'"),
        ({"shifts": ("rain",)}, r"has no \['rain'\]"),
        ({"shifts": ("contrast:6",)}, r"'contrast:6', expected a severity of \[1, 2, 3, 4, 5\]"),
        ({"shifts": ("contrast:",)}, r"'contrast:', expected a severity"),
        ({"shifted": ("lamp",)}, "got 'lamp', expected 'name=folder'"),
        ({"shifted": ("id=x",)}, "the name 'id' is taken"),
        ({"shifted": ("contrast=x",), "shifts": ("contrast",)}, "the name 'contrast' is taken"),
        ({"shifted": ("a=x", "a=y")}, "the name 'a' is taken"),
        ({"shifted": ("a=/nowhere",)}, "cannot list the folder '/nowhere"),
    ],
)
def test_options_without_a_meaning(options, named, mvtec):
    with pytest.raises(ValueError, match=named):
        folder_task(f"{mvtec}/nut", options=FolderOptions(**options))
