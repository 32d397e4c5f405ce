"""Prepared MVTec AD and PACS give the very tasks that their folders give."""

import io
from pathlib import Path

import benchmark_folders as folders
import numpy as np
import pytest
from PIL import Image
from prepared_files import image_feature, label_feature, png, text_feature, write_prepared

from gnl_jax.data.folder import FolderOptions, mvtec_task, pacs_task
from gnl_jax.data.listing import list_images

FEATURES = {"image": image_feature(-1, -1, 3), "label": label_feature(2), "name": text_feature()}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def as_png(path):
    """What the builder stores: PNG as it is, anything else as PNG."""
    data = path.read_bytes()
    return data if path.suffix == ".png" else png(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def prepare_mvtec(source, root, *, broken=""):
    splits = {"train": [], "test": []}
    for name in list_images(source / "bottle"):
        part, kind, file = name.split("/")
        if part == "ground_truth":
            continue
        mask = source / "bottle" / "ground_truth" / kind / file.replace(".png", "_mask.png")
        splits[part].append(
            {
                "image": b"broken" if name == broken else as_png(source / "bottle" / name),
                "mask": mask.read_bytes() if mask.is_file() else png(np.zeros((40, 36), np.uint8)),
                "label": int(kind != "good"),
                "defect": kind.encode(),
                "name": name.encode(),
            }
        )
    features = FEATURES | {"mask": image_feature(-1, -1, 1), "defect": text_feature()}
    write_prepared(root / "mvtec_ad" / "bottle" / "1.0.0", splits, features=features)
    return str(root)


def prepare_pacs(source, root):
    splits = {}
    for name in list_images(source):
        splits.setdefault(name.split("/")[0], []).append(
            {"image": as_png(source / name), "label": 0, "name": name.encode()}
        )
    write_prepared(root / "pacs" / "1.0.0", splits, features=FEATURES)
    return str(root)


def assert_same_task(task, expected):
    assert (task.dataset, task.normal, list(task.tests)) == (expected.dataset, expected.normal, list(expected.tests))
    assert task.train_names == expected.train_names
    everything = np.arange(len(task.train))
    np.testing.assert_array_equal(task.train[everything], expected.train[everything])
    for name in task.tests:
        for field, wanted in zip(task.load_test(name), expected.load_test(name)):
            np.testing.assert_array_equal(field, wanted)


@pytest.mark.parametrize("memory_mb", [100, 0])
def test_mvtec(tmp_path, memory_mb):
    source = folders.write_mvtec(tmp_path / "source")
    options = FolderOptions(size=32, shifts=("gaussian_noise", "rotation:5"), seed=4, memory_mb=memory_mb, cache_dir="")
    prepared = mvtec_task(prepare_mvtec(source, tmp_path / "data"), "bottle", options=options)
    assert_same_task(prepared, mvtec_task(str(source), "bottle", options=options))


def test_pacs(tmp_path):
    source = folders.write_pacs(tmp_path / "source")
    for index in range(12):
        folders.save(folders.pixels(index), source / "photo" / "horse" / f"{index:02d}.png")
        folders.save(folders.pixels("c", index), source / "cartoon" / "horse" / f"{index:02d}.png")
    options = FolderOptions(size=32, shifts=("cartoon", "gaussian_noise"), limit_train=7, limit_test=8)
    root = prepare_pacs(source, tmp_path / "data")
    assert_same_task(pacs_task(root, "horse", options=options), pacs_task(str(source), "horse", options=options))


def test_a_broken_record_is_named(tmp_path):
    source = folders.write_mvtec(tmp_path / "source")
    root = prepare_mvtec(source, tmp_path / "data", broken="train/good/001.png")
    with pytest.raises(ValueError, match=r"mvtec_ad/bottle/1\.0\.0: train/good/001\.png': not a PNG"):
        mvtec_task(root, "bottle", options=FolderOptions(size=32))
    task = mvtec_task(root, "bottle", options=FolderOptions(size=32, skip_unreadable=True))
    assert task.train_names == ("train/good/000.png", "train/good/002.png")


def test_what_is_not_prepared_is_looked_for_as_a_folder(tmp_path):
    root = prepare_mvtec(folders.write_mvtec(tmp_path / "source"), tmp_path / "data")
    with pytest.raises(ValueError, match=f"cannot list the folder '{Path(root)}/screw"):
        mvtec_task(root, "screw", options=FolderOptions(size=32))
