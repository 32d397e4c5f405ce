"""The TFDS builders, on small folders laid out as published: what they prepare equals the files."""

import io
import subprocess
import sys
from pathlib import Path

import benchmark_folders as folders
import numpy as np
import pytest
from PIL import Image
from prepared_files import image_feature, label_feature, png, write_prepared

pytest.importorskip("array_record.python.array_record_module", reason="Linux only")
tfds = pytest.importorskip("tensorflow_datasets")

from gnl_jax.data.builders import (  # noqa: E402
    BUILDERS,
    MnistM,
    MvtecAd,
    MvtecAd2,
    MvtecLoco,
    Pacs,
    Visa,
    mnist_m,
    mvtec_ad,
    mvtec_loco,
    pacs,
    visa,
)
from gnl_jax.data.folder import FolderOptions, category_task  # noqa: E402
from gnl_jax.data.mnist import mnist_task  # noqa: E402
from gnl_jax.data.pixels import read_image  # noqa: E402
from gnl_jax.data.tfds import open_split  # noqa: E402

tfds.disable_progress_bar()


def prepared(build, source, data_dir, config=None):
    """Prepares and reads back: split to its list of examples."""
    builder = build(data_dir=data_dir, config=config, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
    records = {split: open_split(builder.data_dir, split) for split in builder.info.splits}
    return {split: [records[split][i] for i in range(len(records[split]))] for split in records}


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_published_counts_add_up():
    assert sum(train for train, _, _ in mvtec_ad.PUBLISHED.values()) == 3629
    assert sum(good + bad for _, good, bad in mvtec_ad.PUBLISHED.values()) == 1725
    assert len(mvtec_ad.PUBLISHED) == 15
    assert tuple(map(sum, zip(*mvtec_loco.PUBLISHED.values()))) == (1772, 575, 993)
    assert tuple(map(sum, zip(*visa.PUBLISHED.values()))) == (8659, 962, 1200)
    totals = {domain: sum(counts) for domain, counts in pacs.PUBLISHED.items()}
    assert totals == {"photo": 1670, "art_painting": 2048, "cartoon": 2344, "sketch": 3929}


class TestMvtecAd:
    @pytest.fixture
    def source(self, tmp_path):
        return folders.write_mvtec(tmp_path / "source")

    def test_records_equal_the_files_in_order(self, source, tmp_path):
        splits = prepared(MvtecAd, source, tmp_path, "bottle")
        for split, examples in splits.items():
            files = sorted((source / "bottle" / split).rglob("*.png"))
            assert [e["image"] for e in examples] == [file.read_bytes() for file in files]
            assert [e["name"].decode() for e in examples] == [f"{split}/{f.parent.name}/{f.name}" for f in files]
            assert [e["defect"].decode() for e in examples] == [file.parent.name for file in files]
            assert [e["label"] for e in examples] == [int(file.parent.name != "good") for file in files]
        assert len(splits["train"]) == 3
        assert len(splits["test"]) == 5

    def test_masks_are_those_of_the_files_and_black_without_a_defect(self, source, tmp_path):
        splits = prepared(MvtecAd, source, tmp_path, "bottle")
        for example in splits["train"] + splits["test"]:
            if example["label"]:
                path = source / "bottle" / example["name"].decode().replace("test", "ground_truth")
                assert example["mask"] == path.with_name(f"{path.stem}_mask.png").read_bytes()
            else:
                mask = decoded(example["mask"])
                assert mask.shape == (40, 36)
                assert not mask.any()

    def test_a_partial_copy_is_reported_and_a_whole_one_is_not(self, source, tmp_path, caplog, monkeypatch):
        prepared(MvtecAd, source, tmp_path / "partial", "bottle")
        assert "test/<defect> 3 of 63" in caplog.text
        caplog.clear()
        monkeypatch.setitem(mvtec_ad.PUBLISHED, "bottle", (3, 2, 3))
        prepared(MvtecAd, source, tmp_path / "whole", "bottle")
        assert "published" not in caplog.text

    @pytest.mark.parametrize(
        ("path", "content", "message"),
        [
            ("test/good/001.png", b"\x89PNG\r\n\x1a\n broken", r"test/good/001\.png': broken"),
            ("train/good/000.png", b"", r"train/good/000\.png': the file is empty"),
            ("ground_truth/crack/001_mask.png", png(np.zeros((40, 36), np.uint8)), r"1_mask\.png': an empty mask"),
            ("ground_truth/crack/001_mask.png", png(np.ones((9, 8), np.uint8)), r"1_mask\.png'.*\(9, 8\).*\(40, 36\)"),
        ],
    )  # fmt: skip
    def test_an_unusable_file_is_named_and_nothing_is_left_prepared(self, source, tmp_path, path, content, message):
        (source / "bottle" / path).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            prepared(MvtecAd, source, tmp_path / "data", "bottle")
        assert not list((tmp_path / "data").rglob("dataset_info.json"))

    def test_a_category_without_masks_or_without_folder_is_an_error(self, source, tmp_path):
        for mask in (source / "bottle" / "ground_truth").rglob("*.png"):
            mask.unlink()
        with pytest.raises(
            ValueError, match=r"bottle': no masks for 3 defective images, such as 'test/crack/000\.png'"
        ):
            prepared(MvtecAd, source, tmp_path, "bottle")
        with pytest.raises(ValueError, match=r"cannot list the folder '.*source/cable/?'"):
            prepared(MvtecAd, source, tmp_path, "cable")


CATEGORIES = {  # how it is written, its category, images of its splits, and warnings of a partial copy
    MvtecLoco: (folders.write_mvtec_loco, "pushpins", {"train": 3, "validation": 1, "test": 4}, "test/good 1 of 138"),
    MvtecAd2: (folders.write_mvtec_ad_2, "vial", {"train": 3, "validation": 1, "test": 3}, ""),
    Visa: (folders.write_visa, "pcb3", {"train": 2, "test": 2}, "train/good 2 of 905"),
}


@pytest.mark.parametrize("build", CATEGORIES)
class TestCategories:
    def test_records_equal_the_files_in_order(self, build, tmp_path, caplog):
        write, category, counts, warning = CATEGORIES[build]
        source = write(tmp_path / "source")
        splits = prepared(build, source, tmp_path, category)
        assert {split: len(examples) for split, examples in splits.items()} == counts
        assert warning in caplog.text
        assert ("WARNING" in caplog.text) == bool(warning)
        for examples in splits.values():
            names = [e["name"].decode() for e in examples]
            assert names == sorted(names)
            for name, example in zip(names, examples):
                assert example["image"] == (source / category / name).read_bytes()
                assert bool(example["label"]) == decoded(example["mask"]).any() == (example["defect"] != b"good")
        assert not [e for split in ("train", "validation") for e in splits.get(split, ()) if e["label"]]

    def test_a_training_reads_it_like_the_folder(self, build, tmp_path):
        write, category, _, _ = CATEGORIES[build]
        source = write(tmp_path / "source")
        prepared(build, source, tmp_path, category)
        options = FolderOptions(size=32, shifts=("gaussian_noise",), cache_dir="")
        one, other = (category_task(build.name, str(root), category, options=options) for root in (tmp_path, source))
        assert one.train_names == other.train_names
        np.testing.assert_array_equal(one.train, other.train)
        for name in one.tests:
            for field, expected in zip(one.load_test(name), other.load_test(name)):
                np.testing.assert_array_equal(field, expected)
        assert one.load_test("id").masks.any()

    def test_a_defect_without_a_mask_is_an_error(self, build, tmp_path):
        write, category, _, _ = CATEGORIES[build]
        source = write(tmp_path / "source")
        mask = next(path for path in source.rglob("*.png") if "ground_truth" in str(path) or "Masks" in str(path))
        mask.unlink()
        table = source / "split_csv" / "1cls.csv"
        if table.exists():
            table.write_text(table.read_text().replace(str(mask.relative_to(source)), ""))
        if build is MvtecLoco:  # the image of two masks
            (mask.parent / ("000.png" if mask.stem == "001" else "001.png")).unlink(missing_ok=True)
        with pytest.raises(ValueError, match=rf"{category}': no masks for 1 defective images, such as "):
            prepared(build, source, tmp_path, category)


def test_several_masks_are_joined(tmp_path):
    source = folders.write_mvtec_loco(tmp_path / "source")
    example = prepared(MvtecLoco, source, tmp_path, "pushpins")["test"][1]
    assert example["name"] == b"test/logical_anomalies/000.png"
    rows = np.flatnonzero(decoded(example["mask"]).any(axis=1))
    assert rows.tolist() == [*range(5), *range(20, 25)]


def test_every_builder_is_known_by_its_name():
    names = ["mvtec_ad", "mvtec_loco", "mvtec_ad_2", "visa", "pacs", "mnist_m"]
    assert [build.name for build in BUILDERS] == names


class TestPacs:
    @pytest.fixture
    def source(self, tmp_path):
        return folders.write_pacs(tmp_path / "source")

    def test_png_and_jpeg_stay_and_other_files_become_png_of_the_same_pixels(self, source, tmp_path):
        splits = prepared(Pacs, source, tmp_path)
        assert {split: len(examples) for split, examples in splits.items()} == {"photo": 4, "cartoon": 2, "sketch": 1}
        seen = set()
        for split, examples in splits.items():
            files = sorted(file for file in (source / split).rglob("*") if file.is_file())
            assert [e["name"].decode() for e in examples] == [str(file.relative_to(source)) for file in files]
            for example, file in zip(examples, files):
                seen.add(file.suffix)
                assert pacs.CLASSES[example["label"]] == file.parent.name
                if file.suffix in (".png", ".jpg"):
                    assert example["image"] == file.read_bytes()
                else:
                    assert example["image"].startswith(b"\x89PNG")
                    np.testing.assert_array_equal(decoded(example["image"]), read_image(file))
        assert seen == {".png", ".jpg", ".tif", ".webp", ".bmp", ".gif"}

    def test_what_is_missing_or_unknown_is_reported(self, source, tmp_path, caplog):
        folders.save(folders.pixels(0), source / "photo" / "cow" / "a.png")
        prepared(Pacs, source, tmp_path)
        assert "left out, of no known domain and class: {'photo/cow': 1}" in caplog.text
        assert "pacs photo: not the number of images that was published: dog 3 of 189, elephant 0 of 202" in caplog.text
        assert "pacs art_painting" in caplog.text

    def test_a_folder_of_something_else_is_an_error(self, source, tmp_path):
        with pytest.raises(ValueError, match=r"source/photo': no images in photo/.*found \{'dog': 3, 'person': 1\}"):
            prepared(Pacs, source / "photo", tmp_path)

    def test_an_unusable_file_is_named(self, source, tmp_path):
        (source / "sketch" / "dog" / "b.webp").write_bytes(b"RIFF nonsense")
        with pytest.raises(ValueError, match=r"sketch/dog/b\.webp'"):
            prepared(Pacs, source, tmp_path)


class TestPublishedMnistM:
    @pytest.fixture
    def source(self, tmp_path):
        return folders.write_mnist_m(tmp_path / "source")

    def test_records_equal_the_files(self, source, tmp_path):
        splits = prepared(MnistM, source, tmp_path, "published")
        for split, labels in folders.MNIST_M.items():
            assert [e["label"] for e in splits[split]] == labels
            for example in splits[split]:
                assert example["image"] == (source / f"mnist_m_{split}" / example["name"].decode()).read_bytes()

    def test_one_part_is_enough(self, tmp_path, caplog):
        source = folders.write_mnist_m(tmp_path / "source", parts=["test"])
        assert list(prepared(MnistM, source, tmp_path, "published")) == ["test"]
        assert "test 4 of 9001" in caplog.text

    def test_what_is_wrong_is_named(self, source, tmp_path):
        listing = source / "mnist_m_train_labels.txt"
        listing.write_text("00000000.png 4\n00000000.png 4\n")
        with pytest.raises(ValueError, match=r"train_labels\.txt': '00000000\.png' is listed more than once"):
            prepared(MnistM, source, tmp_path, "published")
        listing.write_text("none.png 4\n")
        with pytest.raises(ValueError, match=r"mnist_m_train/none\.png': No such file"):
            prepared(MnistM, source, tmp_path, "published")
        listing.write_text("00000000.png 4\n")
        folders.save(folders.pixels(0, shape=(28, 28, 3)), source / "mnist_m_train" / "00000000.png")
        with pytest.raises(ValueError, match=r"00000000\.png': an image of \(28, 28\) pixels, expected 32x32"):
            prepared(MnistM, source, tmp_path, "published")
        with pytest.raises(ValueError, match=r"neither mnist_m_train_labels\.txt nor"):
            prepared(MnistM, source / "mnist_m_test", tmp_path, "published")

    def test_a_training_reads_it_like_the_folder(self, source, tmp_path):
        write_digits(tmp_path)
        prepared(MnistM, source, tmp_path, "published")
        tests = [
            mnist_task(str(tmp_path), "3", mnist_m=str(folder)).load_test("mnist_m")
            for folder in (source, tmp_path / "mnist_m" / "published" / "1.0.0")
        ]
        np.testing.assert_array_equal(tests[0].images, tests[1].images)
        np.testing.assert_array_equal(tests[0].anomalous, tests[1].anomalous)


LABELS = {"train": [3, 1, 3], "test": [3, 5]}


def digit(split, index):
    return np.where(folders.pixels(split, index, shape=(28, 28)) < 128, 0, index + 1).astype(np.uint8)


def write_digits(root):
    splits = {
        split: [{"image": png(digit(split, i)), "label": label} for i, label in enumerate(labels)]
        for split, labels in LABELS.items()
    }
    features = {"image": image_feature(28, 28, 1), "label": label_feature(10)}
    write_prepared(root / "mnist" / "3.0.1", splits, features=features)


class TestSyntheticMnistM:
    @pytest.fixture
    def source(self, tmp_path):
        write_digits(tmp_path)
        return folders.write_photographs(tmp_path / "source")

    def test_every_image_is_the_difference_of_a_digit_and_a_patch(self, source, tmp_path):
        splits = prepared(MnistM, source, tmp_path, "synthetic")
        for split, labels in LABELS.items():
            assert [e["label"] for e in splits[split]] == labels
            for index, example in enumerate(splits[split]):
                image, white = decoded(example["image"]).astype(int), digit(split, index) > 0
                patch = np.where(white[..., None], 255 - image, image)
                photograph = np.asarray(Image.open(source / f"photograph{patch[0, 0, 2]}.png"))
                top, left = patch[0, 0, :2]
                np.testing.assert_array_equal(patch, photograph[top : top + 28, left : left + 28])

    def test_patches_lie_everywhere_in_all_photographs(self, source):
        paths = [str(source / f"photograph{number}.png") for number in range(2)]
        patches = mnist_m.synthesise(np.zeros((8000, 28, 28, 3), np.uint8), paths, rng=np.random.default_rng(0))
        corners = patches[:, 0, 0, :2]
        first = patches[:, 0, 0, 2] == 0
        assert 3800 < first.sum() < 4200
        # Upper left corners in [0, height - 28) and [0, width - 28), the published rule.
        assert np.unique(corners[first], axis=0).shape[0] == 12 * 32
        assert corners[first].max(axis=0).tolist() == [11, 31]
        assert corners[~first].max(axis=0).tolist() == [4, 0]

    def test_it_is_the_same_every_time(self, source, tmp_path):
        first = prepared(MnistM, source, tmp_path, "synthetic")
        write_digits(tmp_path / "again")
        assert prepared(MnistM, source, tmp_path / "again", "synthetic") == first

    def test_a_training_reads_it(self, source, tmp_path):
        examples = prepared(MnistM, source, tmp_path, "synthetic")["test"]
        folder = tmp_path / "mnist_m" / "synthetic" / "1.0.0"
        test = mnist_task(str(tmp_path), "3", mnist_m=str(folder)).load_test("mnist_m")
        assert test.anomalous.tolist() == [False, True]
        expected = Image.open(io.BytesIO(examples[1]["image"])).resize((32, 32), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(test.images[1], np.asarray(expected))

    def test_what_is_wrong_is_named(self, source, tmp_path):
        with pytest.raises(ValueError, match=r"data_dir: no prepared data in '.*other/mnist/3\.0\.1'"):
            prepared(MnistM, source, tmp_path / "other", "synthetic")
        folders.save(folders.pixels(0, shape=(28, 90, 3)), source / "small.png")
        with pytest.raises(ValueError, match=r"small\.png': \(28, 90\) pixels, expected more than 28"):
            prepared(MnistM, source, tmp_path, "synthetic")


def prepare(*arguments):
    script = Path(__file__).parents[2] / "experiments" / "prepare.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


def test_the_command_prepares_and_says_where(tmp_path):
    source = folders.write_mvtec(tmp_path / "source")
    done = prepare("--dataset=mvtec_ad:bottle", f"--source={source}", f"--data_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "mvtec_ad" / "bottle" / "1.0.0"
    assert done.stdout.splitlines()[-1] == f"{folder}: 3 train, 5 test"
    assert len(open_split(folder, "test")) == 5


@pytest.mark.slow
def test_the_command_knows_the_other_benchmarks(tmp_path):
    source = folders.write_visa(tmp_path / "source")
    done = prepare("--dataset=visa:pcb3", f"--source={source}", f"--data_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{tmp_path / 'visa' / 'pcb3' / '1.0.0'}: 2 train, 2 test"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=imagenet"], "error: dataset: got 'imagenet', expected one of ['mvtec_ad'"),
        pytest.param(
            ["--dataset=mvtec_ad:cup", "--source=."],
            "error: dataset: mvtec_ad has no 'cup', expected one of ['bottle'",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--dataset=pacs"],
            "error: source: nothing in None; for pacs: The folder of the domains",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_command_names_what_is_wrong(tmp_path, arguments, message):
    done = prepare(*arguments, f"--data_dir={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr
