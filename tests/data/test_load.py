"""Each data set's own configuration, loaded from generated folders."""

import runpy
from pathlib import Path

import benchmark_folders as folders
import numpy as np
import pytest

from gnl_jax.data.load import folder_options, load_task

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def get_config(name, argument=None, /, **dataset):
    config = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"](argument)
    config.lock()
    with config.ignore_type():
        config.dataset.update(size=32, **dataset)
    return config


def load(name, argument=None, /, **dataset):
    return load_task(get_config(name, argument, **dataset).dataset, seed=0)


def write_parts(root):
    """Good images and one kind of defect, a folder each."""
    for kind, n in (("good", 11), ("scratch", 2)):
        for index in range(n):
            folders.save(folders.pixels(kind, index, shape=(36, 40, 3)), root / kind / f"{index:02d}.png")
    return root


def test_mvtec(tmp_path):
    task = load("mvtec", root=str(folders.write_mvtec(tmp_path)))
    assert (task.dataset, task.normal) == ("mvtec", "bottle")
    assert list(task.tests) == ["id", "brightness", "contrast", "defocus_blur", "gaussian_noise"]
    assert task.train.shape == (folders.MVTEC["train/good"], 32, 32, 3)
    assert task.load_test("contrast").masks.any(axis=(1, 2)).tolist() == [True, True, False, False, True]


def test_pacs(tmp_path):
    root = tmp_path / "pacs"
    for domain in ("photo", "art_painting", "cartoon", "sketch"):
        for name in ("dog", "horse"):
            for index in range(12):
                folders.save(folders.pixels(domain, name, index), root / domain / name / f"{index:02d}.png")
    task = load("pacs", "horse,rd4ad", root=str(root))
    assert (task.dataset, task.normal, len(task.train)) == ("pacs", "horse", 10)
    assert {name: len(task.load_test(name).images) for name in task.tests} == {
        "id": 4,
        "art_painting": 24,
        "cartoon": 24,
        "sketch": 24,
    }
    task = load("pacs", "horse", root=str(root), ood="tenth", shifts=("sketch", "contrast:5"))
    assert [len(task.load_test(name).images) for name in task.tests] == [4, 4, 4]
    with pytest.raises(ValueError, match="ood: got 'half'"):
        load("pacs", root=str(root), ood="half")


def test_a_folder_of_ones_own(tmp_path):
    parts, night = write_parts(tmp_path / "parts, old"), write_parts(tmp_path / "night")
    task = load("folder", f"{parts},dinl", shifts=("gain_up:5",), shifted=(f"night={night}",))
    assert (task.dataset, task.normal) == ("folder/parts, old", "good")
    assert list(task.tests) == ["id", "gain_up:5", "night"]
    assert [len(task.load_test(name).images) for name in task.tests] == [4, 4, 13]
    assert len(task.train) == 9
    flat = load("folder", str(parts / "good"), bad=str(parts / "scratch"), shifts=())
    np.testing.assert_array_equal(flat.load_test("id").images, task.load_test("id").images)
    other = load("folder", str(parts), normal="scratch", shifts=())
    assert (other.normal, len(other.train)) == ("scratch", 1)


@pytest.mark.parametrize("name", ["{}.png", "{}_gt.png", "{} (mask).png"])
def test_a_folder_as_anomalib_has_it(tmp_path, name):
    parts = tmp_path / "parts"
    for kind, n in (("good", 11), ("bad", 12)):
        for index in range(1, n + 1):
            folders.save(folders.pixels(kind, index, shape=(36, 36, 3)), parts / kind / f"{index}.png")
    for index in range(1, 13):
        mask = np.zeros((36, 36), np.uint8)
        mask[index * 2 : index * 2 + 6] = 255
        folders.save(mask, parts / "mask" / name.format(index))
    test = load("folder", str(parts), shifts=()).load_test("id")
    assert test.anomalous.tolist() == [False] * 2 + [True] * 12
    for image, mask in zip(test.names[2:], test.masks[2:]):  # "bad/10.png" comes before "bad/2.png"
        top = 2 * int(image.removeprefix("bad/").removesuffix(".png"))
        assert abs(np.flatnonzero(mask.any(axis=1))[0] - top * 32 / 36) <= 1


def test_a_product_of_visa(tmp_path):
    root = folders.write_visa(tmp_path / "visa")
    own = load("folder", str(root / "pcb3"), shifts=())
    below = load("folder", str(root), normal="pcb3", shifts=())
    category = load("mvtec", "pcb3", name="visa", root=str(root), shifts=())
    for task in (own, below, category):
        np.testing.assert_array_equal(task.train, own.train)
        assert task.load_test("id").masks.any(axis=(1, 2)).tolist() == [True, False]


def test_memory_cache_and_unreadable_files(tmp_path):
    parts = write_parts(tmp_path / "parts")
    (parts / "good" / "03.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"03\.png"):
        load("folder", str(parts))
    (tmp_path / "cache").rename(tmp_path / "used")
    task = load("folder", str(parts), skip_unreadable=True, cache="", memory_mb=0.01)
    assert not isinstance(task.train, np.ndarray)
    assert not (tmp_path / "cache").exists()
    assert task.train_names == tuple(f"good/{i:02d}.png" for i in (1, 2, 4, 5, 6, 7, 8, 9))
    load("folder", str(parts), skip_unreadable=True, cache=str(tmp_path / "mine"))
    assert any((tmp_path / "mine").iterdir())


def test_options_of_pixels():
    options = folder_options(get_config("folder", "PARTS", white=4095.0, alpha="0, 12,255").dataset, 3)
    assert (options.white, options.alpha, options.seed, options.cache_dir) == (4095.0, (0, 12, 255), 3, None)
    options = folder_options(get_config("folder", "PARTS", alpha="drop", cache="elsewhere").dataset, 0)
    assert (options.white, options.alpha, options.cache_dir) == (None, "drop", "elsewhere")


@pytest.mark.parametrize(
    ("dataset", "named"),
    [
        ({"root": ""}, r"dataset\.root: got ''"),
        ({"root": "/nowhere"}, "cannot list the folder '/nowhere"),
        ({"alpha": "white"}, r"dataset\.alpha: got 'white', expected 'error', 'drop' or a colour such as"),
        ({"alpha": "0,0,256"}, r"dataset\.alpha: got '0,0,256'"),
        ({"alpha": "0,0"}, r"dataset\.alpha: got '0,0'"),
        ({"white": -1.0}, r"white: got -1\.0"),
        ({"corrupt_at": "later"}, "corrupt_at: got 'later'"),
        ({"severity": 9}, r"dataset\.severity: got 9"),
        ({"shifts": ("rain",)}, r"has no \['rain'\], expected some of .*'gain_up'"),
        ({"shifts": ("gain_up:7",)}, "'gain_up:7', expected a severity"),
        (
            {"name": "folders"},
            r"expected one of \['digits', .*'mvtec', 'mvtec_loco', 'mvtec_ad_2', 'btad', 'visa', 'folder'\]",
        ),
    ],
)
def test_fields_without_a_meaning(dataset, named, tmp_path):
    with pytest.raises(ValueError, match=named):
        load("folder", str(write_parts(tmp_path / "parts")), **dataset)


@pytest.mark.parametrize(
    ("name", "argument", "root", "normal", "method"),
    [
        ("folder", None, "", "", "gnl"),
        ("folder", "parts", "parts", "", "gnl"),
        ("folder", "parts,rd4ad", "parts", "", "rd4ad"),
        ("folder", "a,b", "a,b", "", "gnl"),
        ("folder", "gnl", "gnl", "", "gnl"),
        ("mvtec", "zipper,atta", "", "zipper", "atta"),
        ("pacs", None, "", "dog", "gnl"),
        ("cifar10", "ship", "", "ship", "gnl"),
        ("cifar10", ",dinl", "", "airplane", "dinl"),
    ],
)
def test_arguments(name, argument, root, normal, method):
    config = get_config(name, argument)
    assert (config.dataset.root, config.dataset.normal, config.method.name) == (root, normal, method)
