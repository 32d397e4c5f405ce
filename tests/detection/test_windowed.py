"""A detector with windows: the same bits from every way in, whole parts calibrate, and every command knows them."""

import base64
import dataclasses
import functools
import io
import json
from fractions import Fraction

import bright
import fitted as fitted_digits
import numpy as np
import pytest
import tiny_bank
from PIL import Image

from gnl_jax.cli import score as score_command
from gnl_jax.cli.arguments import Opened
from gnl_jax.cli.info import describe
from gnl_jax.cli.main import main
from gnl_jax.data.pixels import pixel_hash
from gnl_jax.deploy.export import export_detector
from gnl_jax.detection.artifact import load, save
from gnl_jax.detection.detector import predict_squares
from gnl_jax.detection.fit import fit
from gnl_jax.detection.inspection import ERROR
from gnl_jax.detection.learn_more import add_images, remove_images
from gnl_jax.detection.limits import make_limits
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import good_images
from gnl_jax.detection.ranking import predict_as_new
from gnl_jax.detection.recalibrate import recalibrate
from gnl_jax.detection.region import Region
from gnl_jax.detection.survey import survey_folder
from gnl_jax.detection.windowed import CHUNK, WindowSource
from gnl_jax.detection.windows import Windows, cut_windows, grid_record, place_windows
from gnl_jax.report.fit_page import write_fit_page
from gnl_jax.report.shift import shift_report
from gnl_jax.report.shift_files import ShiftOptions

FRAME = (48, 80)
GRID = place_windows(Windows(size=32, overlap=8), FRAME, side=32)


def seen_in_windows(grid=GRID, **options):
    """The detector whose score is the brightest pixel, with windows."""
    plain = bright.detector(**options)
    manifest = dict(plain.record.manifest)
    manifest["image"] = {**manifest["image"], "windows": grid_record(grid)}
    return dataclasses.replace(plain, record=dataclasses.replace(plain.record, manifest=manifest))


def pictures(n, *, seed=0):
    """Dark noise with a spot, uint8 [n 48 80 3]."""
    images = np.random.default_rng(seed).integers(0, 40, (n, *FRAME, 3), np.uint8)
    images[:, 10:16, 60:70] = np.linspace(60, 255, n).astype(np.uint8)[:, None, None, None]
    return images


def test_score_is_the_largest_and_drift_the_mean_of_the_windows():
    detector, images = seen_in_windows(), pictures(3)
    found = detector(images)
    of_each = [predict_squares(detector, cut_windows(image, GRID, range(GRID.count))) for image in images]
    np.testing.assert_array_equal(found.score, [one.score.max() for one in of_each])
    np.testing.assert_allclose(found.drift, [one.drift.mean() for one in of_each], rtol=1e-6)
    whole = images.astype(np.float32).mean(-1) / 255
    np.testing.assert_allclose(found.map, whole, rtol=1e-5, err_msg="no window changes this map")
    np.testing.assert_array_equal(found.map.max((1, 2)), found.score)
    with pytest.raises(ValueError, match=r"expected uint8 \[n 48 80 3\]"):
        detector(images[:, :32, :32])


def test_the_same_bits_from_a_path_an_array_a_generator_and_the_command(tmp_path, monkeypatch, capsys):
    detector, images = seen_in_windows(batch_size=1), pictures(3)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    expected = [detector.inspect(path, maps=True) for path in paths]
    assert [one.decision for one in expected] == ["OK", "NG", "NG"]
    assert expected[2].boxes == ((60, 10, 10, 6),)
    assert expected[2].frame_map.shape == FRAME
    for streamed in (detector.inspect(image for image in images), detector.inspect(images), detector.inspect(paths)):
        for one, other in zip(expected, streamed, strict=True):
            assert one[1:8] == other[1:8]
    monkeypatch.setattr(score_command, "open_detector", lambda path: Opened(detector, "0", tmp_path / "x.gnl"))
    out = tmp_path / "out.jsonl"
    command = ["score", "x.gnl", *map(str, paths), "--format", "jsonl", "--out", str(out), "--overlays", str(tmp_path)]
    command += ["--html", str(tmp_path / "page.html")]
    assert main(command) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["score"] for line in lines] == [one.score for one in expected]
    assert lines[2]["boxes"] == [[60, 10, 10, 6]]
    assert "data:image" in (tmp_path / "page.html").read_text()
    with Image.open(tmp_path / "2.png.png") as shown:
        assert shown.width >= FRAME[1]
    other = detector.inspect(images[0][:40])
    assert (other.decision, other.score) == (ERROR, None)
    assert "got 80x40 pixels, expected 80x48" in other.reason


def test_the_windows_of_all_images_are_a_source_in_their_order():
    images = pictures(3)
    source = WindowSource(images, GRID)
    expected = np.concatenate([cut_windows(image, GRID, range(GRID.count)) for image in images])
    np.testing.assert_array_equal(source[np.arange(len(source))], expected)
    np.testing.assert_array_equal(source[np.array([[7, 0], [3, 7]])], expected[[[7, 0], [3, 7]]])
    assert source.shape == expected.shape


METHOD = tiny_bank.make_method(rows=63)


def parts(n, *, seed=0):
    """Pictures of `tiny_bank` side by side, uint8 [n 32 80 3]: three windows of 32 pixels."""
    tiles = tiny_bank.images(3 * n, seed=seed).reshape(n, 3, 32, 32, 3)
    return np.concatenate(list(tiles.swapaxes(0, 1)), axis=2)[:, :, :80]


def fit_parts(images, **options):
    silent = {"method": METHOD, "say": lambda text: None}
    return fit(images, tiny_bank.config(), options=FitOptions(window_size=32, **options), **silent)


@functools.cache
def fitted():
    """40 parts: 21 in a bank of 63 rows, 19 that calibrate."""
    return fit_parts(parts(40))


def good(images):
    return good_images(images, tiny_bank.config().dataset, native=fitted().grid.native)


def of_windows(detector, image):
    return predict_squares(detector, cut_windows(image, detector.grid, range(detector.grid.count)))


@pytest.mark.slow
def test_one_window_is_the_plain_detector_to_the_bit():
    images, silent = tiny_bank.images(40), {"method": METHOD, "say": lambda text: None}
    plain = fit(images, tiny_bank.config(), **silent)
    one = fit(images, tiny_bank.config(), options=FitOptions(windows=1), **silent)
    assert one.grid.count == 1
    assert plain.grid is None
    for a, b in zip(plain(images), one(images)):
        np.testing.assert_array_equal(a, b)
    assert plain.record.thresholds == one.record.thresholds
    for a, b in zip(plain.record.calibration, one.record.calibration):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_whole_parts_calibrate(tmp_path):
    """Two images show a part: its score is the largest of all windows of both, and each part counts once."""
    images = parts(38)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"part{i // 2:02}_{i % 2}.png")
    detector = fit_parts(tmp_path, group_by=r"part(\d+)", calibration=9)
    known = set(detector.record.manifest["data"]["calibration"])
    scores = {}
    for i, image in enumerate(images):
        if pixel_hash(image) in known:
            scores[i // 2] = max(scores.get(i // 2, 0), of_windows(detector, image).score.max())
    assert len(scores) == 9
    np.testing.assert_array_equal(detector.record.calibration.score, np.sort(list(scores.values())))
    assert detector.record.rules.review.n == 9
    assert len(detector.variables["parts"]) == 20 * detector.grid.count


def test_the_bank_holds_patches_of_all_windows():
    owners = np.asarray(fitted().variables["banks"]["0"]["owners"])
    assert fitted().grid.count == 3
    assert set(owners % 3) == {0, 1, 2}
    assert len(set(owners // 3)) > 15


def test_saved_and_read_it_has_the_same_bits(tmp_path):
    detector, images = fitted(), parts(3, seed=5)
    save(detector, tmp_path / "x.gnl")
    again = load(tmp_path / "x.gnl", method=METHOD)
    assert again.grid == detector.grid
    for a, b in zip(detector(images), again(images)):
        np.testing.assert_array_equal(a, b)
    assert "1x3 windows of 32x32 pixels" in repr(again)
    assert "inspected in 1x3 windows of 32x32 pixels (rows x columns)" in describe(
        {"kind": "detector", **again.record.manifest}
    )
    assert "windows" not in bright.detector().record.manifest["image"], "files without them stay"


def test_an_image_of_the_bank_is_ranked_without_its_own_windows():
    detector, images = fitted(), parts(40)
    known, learned = good(images), detector.record.manifest["data"]["fit"]
    new, plain = predict_as_new(detector, known), detector(images)
    own = int(detector.variables["banks"]["0"]["owners"][0]) // detector.grid.count  # a patch of it is in the bank
    i = known.hashes.index(learned[own])
    gone = np.arange(21 * detector.grid.count) // detector.grid.count == own
    without = dataclasses.replace(detector, variables=detector.variables | METHOD.drop(detector.variables, gone))
    np.testing.assert_allclose(new.score[i], without(images[[i]]).score[0], rtol=1e-5)
    assert new.map[i].sum() > plain.map[i].sum()
    calibrates = [digest not in learned for digest in known.hashes]
    np.testing.assert_allclose(new.score[calibrates], plain.score[calibrates], rtol=1e-5)


@pytest.mark.slow
def test_images_are_added_and_taken_back():
    detector, more = fitted(), good(parts(7, seed=1))
    options = {"parent": "f" * 64, "calibration": good(parts(40)), "say": lambda text: None}
    grown = add_images(detector, more, **options)
    assert len(grown.variables["parts"]) == 28 * 3
    assert len(grown.variables["banks"]["0"]["rows"]) == 63 + 21
    assert grown.grid == detector.grid
    back = remove_images(grown, more.take([0, 3]), **options)
    assert len(back.variables["parts"]) == 26 * 3
    again = remove_images(grown, more, **options)
    for name in ("rows", "owners"):
        np.testing.assert_array_equal(again.variables["banks"]["0"][name], detector.variables["banks"]["0"][name])


def test_recalibrated_for_brighter_parts():
    brighter = (parts(20, seed=3) + np.uint8(20)).astype(np.uint8)
    detector, silent = fitted(), {"say": lambda text: None}
    new = recalibrate(detector, good(brighter), parent="f" * 64, condition="lamp", **silent).detector
    assert new.grid == detector.grid
    assert len(new.record.calibration.score) == 20
    largest = max(of_windows(new, image).score.max() for image in brighter)
    assert new.record.calibration.score[-1] == largest


def test_windows_are_placed_within_a_rectangle_and_nothing_else_counts():
    detector, images = fit_parts(parts(40), region=Region(roi=(8, 0, 64, 32))), parts(2, seed=4)
    assert detector.grid.area == (0, 8, 32, 64)
    outside = images.copy()
    outside[:, :, :8], outside[:, :, 72:] = 255, 0
    for a, b in zip(detector(images), detector(outside)):
        np.testing.assert_array_equal(a, b)
    images[0, 10:20, 30:40] = (250, 20, 250)
    found = detector.inspect(images[0])
    assert found.decision == "REVIEW"
    (x, y, width, height), *_ = found.boxes
    assert x < 35 < x + width
    assert y < 15 < y + height


@pytest.mark.slow
def test_a_student_learns_from_windows(small_network):
    """GNL: its windows are training images, its references and its drift are of all of them."""
    good = fitted_digits.digits()[0]
    images = np.concatenate([good[:30], good[30:]], axis=2)
    options = FitOptions(epochs=1, window_size=32, overlap=8, calibration=9)
    detector = fit(images, fitted_digits.config(), options=options, say=lambda text: None)
    assert detector.grid.columns == (0, 16, 32)
    found = detector(images[:2])
    of_each = of_windows(detector, images[0])
    assert found.score[0] == of_each.score.max()
    np.testing.assert_allclose(found.drift[0], of_each.drift.mean(), rtol=1e-6)
    steps = detector.record.manifest["made"]["steps"]
    assert steps == -(-21 * 3 // detector.record.config.train.batch_size)


def test_memory_does_not_grow_with_the_number_of_windows():
    shapes = []
    many = place_windows(Windows(size=32, overlap=30), FRAME, side=32)
    detector = seen_in_windows(many, batch_size=4)
    inner = detector.score_batch

    def watched(variables, images):
        shapes.append(images.shape)
        return inner(variables, images)

    detector = dataclasses.replace(detector, score_batch=watched)
    detector(pictures(1))
    assert many.count > 10 * CHUNK
    assert set(shapes) == {(4, 32, 32, 3)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_size": 33}, "window_size: got 33, expected at most 32"),
        ({"window_size": 32, "region": Region(mask="x.png")}, "mask: got it with windows, expected a rectangle"),
        ({"window_size": 32, "region": Region(roi=(0, 0, 32, 32), relative=True)}, "region_relative: got it with wind"),
        ({"window_size": 32, "region": Region(roi=(60, 0, 32, 32))}, "roi: got 60,0,32,32, expected it within images"),
    ],
)
def test_what_does_not_go_with_windows_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        fit(parts(40), tiny_bank.config(), options=FitOptions(**options), method=METHOD)


def test_images_of_several_sizes_and_exports_are_refused(tmp_path):
    with pytest.raises(ValueError, match="overlap: got 3 without windows"):
        FitOptions(overlap=3)
    some = [*parts(39), np.zeros((32, 79, 3), np.uint8)]
    with pytest.raises(ValueError, match="image 39: got 79x32 pixels, expected 80x32"):
        fit_parts(some)
    for i, image in enumerate(some[-3:]):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match=r"(?s)1 of 3 .* cannot be used.*2.png.*got 79x32 pixels, expected 80x32"):
        fit_parts(tmp_path)
    with pytest.raises(ValueError, match="inspects images in 1x3 windows"):
        export_detector(fitted(), tmp_path / "x.gnlx", images=list(parts(1)))
    assert not (tmp_path / "x.gnlx").exists()


def write(folder, images):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return folder


def test_the_pages_show_whole_parts(tmp_path):
    """The most unusual good images, and a shift report: false alarms and misses at their own aspect."""
    detector, bad = fitted(), parts(4, seed=8)
    bad[:, 10:14, 40:44] += 20
    good = write(tmp_path / "good", parts(12))
    words = {"survey": survey_folder(good, detector.record.config.dataset), "command": "", "following": ""}
    page = write_fit_page(detector, good, tmp_path / "x.html", options=FitOptions(), **words)
    assert page.read_text().count("data:image/jpeg") == 20
    report = shift_report(
        detector,
        good=write(tmp_path / "new", parts(5, seed=7)),
        bad=write(tmp_path / "bad", bad),
        options=ShiftOptions(("brightness",), (5,), 5, 4),
        limits=make_limits(Fraction(1, 20)),
    )
    assert [row["n"] for row in report["conditions"]] == [5, 5]
    assert [row["bad"] for row in report["conditions"]] == [4, 4]
    shown = [one["image"] for row in report["conditions"] for kind in ("false_alarms", "missed") for one in row[kind]]
    assert shown
    data = base64.b64decode(shown[0].partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (80, 32)


@pytest.mark.parametrize("option", [("--window-size", "100"), ("--windows", "-2"), ("--overlap", "9")])
def test_the_command_names_an_option_without_a_meaning(option, tmp_path, capsys):
    write(tmp_path / "good", parts(2))
    with pytest.raises(SystemExit) as left:
        main(["fit", str(tmp_path / "good"), "--out", str(tmp_path / "x.gnl"), *option])
    assert left.value.code in (1, 2)
    said = capsys.readouterr().err
    assert option[0].lstrip("-").replace("-", "_") in said.replace("-", "_")
    assert len(said.strip().splitlines()) == 1
