"""An export scores and decides as its detector, anywhere, and is refused here if it does not."""

import ast
import dataclasses
import functools
import json
import math
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_banks

from gnl_jax.deploy import export, runtime, trials
from gnl_jax.deploy.export import ExportError, export_detector, make_program, resize_in_program, write_runtime
from gnl_jax.detection import container
from gnl_jax.detection.detector import Detector, make_detector
from gnl_jax.detection.record import Calibration, Record
from gnl_jax.images.resize import Geometry, resize
from gnl_jax.methods.bank_options import BankOptions, BankSize
from gnl_jax.methods.base import Prediction
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.methods.scoring import score_batch
from gnl_jax.ops.scoremap import gaussian_matrix

SIZE, RESIZE, BATCH, N = 16, 20, 4, 19
SHAPES = [(20, 30), (40, 17), (33, 33), (16, 16), (50, 60)]
RULES = {"ng": 1, "review": 3, "drift": 2}


@jax.jit
def toy_score(variables, images):
    """Smoothed distance from a learned mean; drift is that of all pixels together from a plane."""
    x = images.astype(jnp.float32) / 255
    distance = jnp.abs(x - variables["mean"][None]).mean(-1)
    rows, columns = variables["smooth"]
    maps = jnp.einsum("hi,bij,wj->bhw", rows, distance, columns)
    return Prediction(maps.max((1, 2)), maps, jnp.abs((x * variables["plane"][None]).mean((1, 2, 3))))


def good_images(n=5, *, shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    return [np.clip(rng.normal(100, 20, (*shapes[i % len(shapes)], 3)), 0, 255).astype(np.uint8) for i in range(n)]


def manifest(*, size=SIZE, resize=RESIZE, batch_size=BATCH, rules=RULES, n=N, matching="none"):
    return {
        "kind": "detector",
        "matching": matching,
        "batch_size": batch_size,
        "image": {"size": size, "resize": resize, "filter": "bilinear"},
        "rules": {name: k and {"rate": f"{k}/20", "k": k, "n": n, "confidence": None} for name, k in rules.items()},
    }


@functools.cache
def toy():
    plane = np.random.default_rng(1).normal(3, 1, (SIZE, SIZE, 3)).astype(np.float32)
    smooth = jnp.asarray(gaussian_matrix(SIZE, sigma=1.0), jnp.float32)
    variables = {"plane": jnp.asarray(plane), "mean": jnp.full((SIZE, SIZE, 3), 0.4), "smooth": (smooth, smooth * 2)}
    squares = np.stack([resize(image, Geometry(SIZE, RESIZE)) for image in good_images(N, seed=2)])
    seen = Detector(variables, toy_score, SIZE, BATCH)(squares)
    calibration = Calibration(np.sort(seen.score), np.sort(seen.drift))
    return Detector(variables, toy_score, SIZE, BATCH, Record(manifest(), {"none": {}}, {"none": calibration}))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The toy detector's exported file."""
    path = tmp_path_factory.mktemp("export") / "part.gnlx"
    differences = export_detector(toy(), path, images=good_images())
    assert differences.keys() == {"score", "map", "drift"}
    assert max(differences.values()) < 1e-6
    return path


def by_detector(images):
    return toy()(np.stack([resize(image, Geometry(SIZE, RESIZE)) for image in images]))


def by_export(exported, images):
    return exported(np.stack([exported.resize(image) for image in images]))


def test_the_file_scores_and_decides_as_the_detector(shipped):
    exported = runtime.load(shipped)
    images = good_images(11, seed=3)
    images += trials.disturbed(images[0])
    expected, got = by_detector(images), by_export(exported, images)
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-6)
    np.testing.assert_allclose(got.map, expected.map, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.drift, expected.drift, rtol=1e-5)
    decisions = [(d.decision, d.reason) for d in toy().decide(expected)]
    assert exported.decide(got.score, got.drift) == decisions
    assert {d for d, _ in decisions} == {"OK", "REVIEW", "NG"}
    assert exported.size == SIZE


def test_what_the_file_holds(shipped):
    content = container.read_container(shipped)
    said = {"kind": "export", "jax": jax.__version__, "platforms": ["cpu", "cuda", "tpu"], "input": [None, None]}
    assert content.manifest == manifest() | said | {"outputs": ["score", "map", "drift"]}
    leaves = jax.tree.leaves(toy().variables)
    assert content.arrays.keys() == {f"variables/{i:05d}" for i in range(4)} | {
        "calibration/score",
        "calibration/drift",
    }
    for i, leaf in enumerate(leaves):
        np.testing.assert_array_equal(content.arrays[f"variables/{i:05d}"], leaf)
    np.testing.assert_array_equal(content.arrays["calibration/drift"], toy().require_record().calibration.drift)
    exported = jax.export.deserialize(bytearray(content.program))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    for b in (1, 7):  # any batch size, whatever the runtime uses
        score, *_ = exported.call(leaves, jnp.zeros((b, SIZE, SIZE, 3), jnp.uint8))
        assert score.shape == (b,)


def test_no_path_of_this_machine_ships(shipped):
    assert not re.search(rb"\.py|/gnl_jax|/home/", shipped.read_bytes())
    assert jax.config.jax_traceback_in_locations_limit != 0
    again = make_program(toy())[0]
    assert again == container.read_container(shipped).program


@pytest.mark.parametrize(
    ("shape", "geometry"),
    [
        ((23, 57), Geometry(16, 0, "bilinear")),
        ((57, 23), Geometry(16, 21, "lanczos")),
        ((16, 40), Geometry(16, 0, "lanczos")),
        ((1, 5), Geometry(13, 18, "bilinear")),
    ],
)
def test_resizing_in_the_program_equals_pillow(shape, geometry):
    noise = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), np.uint8)
    extreme = np.repeat(255 * (np.indices(shape).sum(0) % 2)[..., None], 3, axis=2).astype(np.uint8)
    images = np.concatenate([noise, extreme[None]])
    got = np.asarray(resize_in_program(images, geometry))
    np.testing.assert_array_equal(got, np.stack([resize(image, geometry) for image in images]))


def test_a_fixed_size_is_resized_inside(tmp_path):
    images = good_images(5, shapes=[(24, 31)])
    export_detector(toy(), tmp_path / "part.gnlx", images=images, input_size=(24, 31))
    exported = runtime.load(tmp_path / "part.gnlx")
    assert (exported.shape, exported.size, exported.manifest["input"]) == ((24, 31), SIZE, [24, 31])
    expected, got = by_detector(images), exported(np.stack(images))
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-6)
    assert got.map.shape == (5, SIZE, SIZE)
    np.testing.assert_array_equal(exported.resize(images[0]), images[0])
    with pytest.raises(ValueError, match=r"images: got uint8 \[1, 16, 16, 3\], expected uint8 \[n 24 31 3\]"):
        exported.resize(np.zeros((16, 16, 3), np.uint8))


def test_other_sizes_than_the_fixed_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected uint8 \[n 24 31 3\]"):
        export_detector(toy(), tmp_path / "part.gnlx", images=good_images(), input_size=(24, 31))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shapes", [SHAPES, [(24, 31)]])
def test_sizes_and_thresholds_are_tried(shapes, tmp_path, monkeypatch):
    """At least three sizes, and on both sides of each threshold an image within 1e-3 of it."""
    compared = []
    compare = export._Pair.compare
    monkeypatch.setattr(export._Pair, "compare", lambda pair, images: compared.extend(images) or compare(pair, images))
    export_detector(toy(), tmp_path / "part.gnlx", images=good_images(shapes=shapes))
    assert len({image.shape for image in compared}) >= 3
    seen, calibration = by_detector(compared), toy().require_record().calibration
    for kind, k in (("score", 1), ("score", 3), ("drift", 2)):
        threshold = np.sort(getattr(calibration, kind))[N - k]
        distance = getattr(seen, kind) / threshold - 1
        assert ((distance <= 0) & (distance >= -1e-3)).any()
        assert ((distance > 0) & (distance <= 1e-3)).any()


def changed_container(change):
    """`pack` that writes something else than it was given."""

    def pack(manifest, arrays, program):
        manifest = json.loads(json.dumps(manifest))
        arrays = {name: np.array(array) for name, array in arrays.items()}
        change(manifest, arrays)
        return container.pack(manifest, arrays, program)

    return pack


def scaled(name, by):
    def change(manifest, arrays):
        arrays[name] = (arrays[name] * np.float32(by)).astype(np.float32)

    return changed_container(change)


def other_rule(rule, k):
    def change(manifest, arrays):
        manifest["rules"][rule]["k"] = k

    return changed_container(change)


def off_by_one(*arguments, **options):
    image = RUNTIME_RESIZE(*arguments, **options)
    image[3, 5, 1] ^= 1
    return image


def strict_counts(calibration, scores):
    """Ties count for the part, and everyone is one better."""
    return len(calibration) - np.searchsorted(calibration, scores, side="right")


RUNTIME_RESIZE = runtime.resize
BROKEN = {
    "a weight": (export, "pack", scaled("variables/00003", 1 + 1e-4), "score: the export is off by"),
    "a weight of drift": (export, "pack", scaled("variables/00001", 1 + 1e-4), "drift: the export is off by"),
    "a pixel": (runtime, "resize", off_by_one, "resizing .*: the export has other pixels than Pillow"),
    "NG, more": (export, "pack", other_rule("ng", 2), "decision at score .*: got"),
    "REVIEW, less": (export, "pack", other_rule("review", 2), "decision at score .*: got"),
    "REVIEW, more": (export, "pack", other_rule("review", 4), "decision at score .*: got"),
    "drift, less": (export, "pack", other_rule("drift", 1), "decision at score .*: got"),
    "drift, more": (export, "pack", other_rule("drift", 3), "decision at score .*: got"),
    "calibration": (export, "pack", scaled("calibration/score", 1.002), "decision at score .*: got"),
    "calibration of drift": (export, "pack", scaled("calibration/drift", 0.998), "decision at score .*: got"),
    "counting": (runtime, "p_counts", strict_counts, "decision at score .*: got"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_export_that_differs_is_not_written(what, tmp_path, monkeypatch):
    module, name, broken, message = BROKEN[what]
    path = tmp_path / "part.gnlx"
    path.write_bytes(b"an earlier one")
    monkeypatch.setattr(module, name, broken)
    with pytest.raises(ExportError, match=message):
        export_detector(toy(), path, images=good_images())
    assert path.read_bytes() == b"an earlier one"
    assert list(tmp_path.iterdir()) == [path]


def test_rounding_at_a_threshold_is_no_difference(tmp_path, monkeypatch):
    """An image that calibrated has the very score of a threshold; there, what differs by rounding decides otherwise."""
    monkeypatch.setattr(export, "pack", scaled("variables/00003", 1 + 5e-7))
    images = good_images(N, seed=2)
    export_detector(toy(), tmp_path / "part.gnlx", images=images)
    exported, expected = runtime.load(tmp_path / "part.gnlx"), by_detector(images)
    got = by_export(exported, images)
    assert (got.score > expected.score).sum() > N / 2
    says = exported.decide(got.score, got.drift)
    others = [i for i, d in enumerate(toy().decide(expected)) if (d.decision, d.reason) != says[i]]
    thresholds = np.sort(toy().require_record().calibration.score)[[-1, -3]]
    assert set(others) == set(np.flatnonzero(np.isin(expected.score, thresholds)))


def test_resizing_inside_is_checked_too(tmp_path, monkeypatch):
    taps = runtime.taps

    def one_less(*arguments):
        index, weight = taps(*arguments)
        return index, weight - (index == index[:, :1])

    monkeypatch.setattr(runtime, "taps", one_less)  # and a size that no other test has compiled for
    with pytest.raises(ExportError, match=r"resizing \[23, 29, 3\]: the export has other pixels"):
        export_detector(toy(), tmp_path / "x", images=good_images(9, shapes=[(23, 29)]), input_size=(23, 29))
    assert list(tmp_path.iterdir()) == []


def with_calibration(score, drift):
    record = dataclasses.replace(toy().require_record(), calibrations={"none": Calibration(score, drift)})
    return dataclasses.replace(toy(), record=record)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (0.01, "NG, score 0.01: no image is below it, expected good images"),
        (1.9, "NG, score 1.9: no disturbed image is above it, expected good images"),
    ],
)
def test_thresholds_out_of_reach_are_said(score, message, tmp_path):
    detector = with_calibration(np.full(N, score, np.float32), toy().require_record().calibration.drift)
    with pytest.raises(ExportError, match=re.escape(message)):
        export_detector(detector, tmp_path / "part.gnlx", images=good_images())
    assert list(tmp_path.iterdir()) == []


def test_a_score_in_coarse_steps_is_said(tmp_path):
    def coarse(variables, images):
        prediction = toy_score(variables, images)
        return prediction._replace(score=jnp.round(prediction.score, 1))

    detector = with_calibration(np.full(N, 0.35, np.float32), toy().require_record().calibration.drift)
    detector = dataclasses.replace(detector, score_batch=coarse)
    with pytest.raises(ExportError, match=r"NG, score 0\.35: no blend of images is within 0\.001 of it"):
        export_detector(detector, tmp_path / "part.gnlx", images=good_images())


def test_what_cannot_be_exported(tmp_path):
    path = tmp_path / "part.gnlx"
    with pytest.raises(ValueError, match="images: got none"):
        export_detector(toy(), path, images=[])
    with pytest.raises(ValueError, match="not calibrated"):
        export_detector(dataclasses.replace(toy(), record=None), path, images=good_images())
    with pytest.raises(runtime.ArtifactError, match="got a device of kind cpu, expected one of tpu"):
        export_detector(toy(), path, images=good_images(), platforms=("tpu",))
    assert list(tmp_path.iterdir()) == []


def refused(shipped, **changes):
    """What the runtime says of the file with other entries in its manifest, arrays or program."""
    content = runtime.unpack(shipped.read_bytes(), name="x")
    program = changes.pop("program", content.program)
    arrays = {name: array for name, array in content.arrays.items() if name != changes.get("without")}
    changed = {k: v for k, v in (content.manifest | changes).items() if v != "absent"}
    with pytest.raises(runtime.ArtifactError, match=r"^part\.gnlx: ") as error:
        runtime.loads(container.pack(changed, arrays, program), name="part.gnlx")
    return str(error.value)


def test_a_program_outside_the_window_of_this_jax(shipped):
    """An operation of a later version, as this jax would meet it, and no program at all."""
    program = container.read_container(shipped).program
    later = program.replace(b"abs_v1", b"abs_v9")
    assert later != program
    for other in (later, b"no program", b""):
        said = refused(shipped, program=other, jax="0.99.0")
        assert f"jax {jax.__version__} cannot run a program exported by jax 0.99.0" in said
        assert "or export again from the artifact" in said


@pytest.mark.parametrize("key", ["jax", "platforms", "outputs", "input", "image", "batch_size", "rules"])
def test_a_manifest_that_lacks_something(shipped, key):
    assert "expected all that an export has" in refused(shipped, **{key: "absent"})


def test_files_that_do_not_fit_together(shipped):
    assert "got a file of kind 'detector', expected 'export'" in refused(shipped, kind="detector")
    assert "expected all that an export has" in refused(shipped, without="variables/00002")
    assert "expected all that an export has" in refused(shipped, without="calibration/drift")
    assert "cannot run a program" in refused(shipped, without="variables/00003")
    assert "outputs: got ['map']" in refused(shipped, outputs=["map"])
    rules = manifest()["rules"]
    for wrong in ({"k": 0, "n": N}, {"k": N + 1, "n": N}, {"k": 1, "n": N + 1}):
        assert "rule review: got k" in refused(shipped, rules=rules | {"review": wrong})
    with pytest.raises(runtime.ArtifactError, match="nowhere: No such file"):
        runtime.load("nowhere")


def test_a_line_computer_needs_two_files(shipped, tmp_path):
    """A fresh process beside copies of both, in which the package and its other libraries are not imported."""
    assert write_runtime(tmp_path) == tmp_path / "gnl_runtime.py"
    (tmp_path / "part.gnlx").write_bytes(shipped.read_bytes())
    images = [good_images()[1], trials.disturbed(good_images()[1])[-1]]
    for i, image in enumerate(images):
        np.save(tmp_path / f"{i}.npy", image)
    program = """
import sys, gnl_runtime
gnl_runtime.main(sys.argv[1:])
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    arguments = [sys.executable, "-c", program, "part.gnlx", "0.npy", "1.npy"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *rows, modules = done.stdout.splitlines()
    assert not {"gnl_jax", "PIL", "safetensors", "flax", "sklearn", "ml_collections"} & set(modules.split())
    assert "gnl_runtime" in modules.split()
    expected = by_detector(images)
    for row, name, said, score, drift in zip(
        rows, ("0.npy", "1.npy"), toy().decide(expected), expected.score, expected.drift, strict=True
    ):
        assert row.split("\t")[:3] == [name, said.decision, said.reason]
        np.testing.assert_allclose([float(x) for x in row.split("\t")[3:]], [score, drift], rtol=1e-5)
    assert {row.split("\t")[1] for row in rows} == {"OK", "NG"}


def test_the_runtime_imports_numpy_and_jax_alone():
    tree = ast.walk(ast.parse(Path(runtime.__file__).read_text()))
    modules = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    tree = ast.walk(ast.parse(Path(runtime.__file__).read_text()))
    modules |= {node.module for node in tree if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in modules} - sys.stdlib_module_names == {"jax", "numpy"}


def test_usage_and_errors_of_its_command(shipped, tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((4, 4), np.uint8))
    for arguments, message in (
        ([], "usage: "),
        (["part.gnlx"], "usage: "),
        (["nowhere", "x.npy"], "error: nowhere: No such file"),
        ([str(shipped), str(tmp_path / "flat.npy")], "error: image: got uint8"),
        ([str(shipped), str(tmp_path / "absent.npy")], "error: .*No such file"),
    ):
        with pytest.raises(SystemExit, match=message):
            runtime.main(arguments)


def random_variables(model, size, rng):
    """Variables of `score_batch` with EFDM and drift, without compiling anything."""

    def init():
        x = jnp.zeros((1, size, size, 3))
        teacher = model.teacher.init(jax.random.key(0), x)
        stages = model.teacher.apply(teacher, x)
        return {"teacher": teacher, "student": model.student.init(jax.random.key(0), stages)}, stages[:2]

    def draw(path, leaf):
        if leaf.ndim > 1:
            return (rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)).astype(np.float32)
        return np.full(leaf.shape, path[-1].key in ("scale", "var"), np.float32)

    networks, stages = jax.eval_shape(init)
    ranks = [(s.shape[1] * s.shape[2], s.shape[3]) for s in stages]
    middle = [math.ceil(0.95 * n) - math.floor(0.05 * n) for n, _ in ranks]
    return jax.tree.map_with_path(draw, networks) | {
        "references": tuple(np.sort(rng.gamma(1, 1, (1, *r)).astype(np.float32), axis=1) for r in ranks),
        "alpha": 0.5,
        "drift": {
            "barycentre": {str(k): np.zeros((1, m, r[1]), np.float32) for k, m, r in zip((1, 2), middle, ranks)},
            "spread": {str(k): np.ones((1, r[1]), np.float32) for k, r in zip((1, 2), ranks)},
        },
    }


@pytest.mark.slow
def test_a_real_network_with_matching_and_drift(tmp_path):
    """ResNet-18, EFDM and drift at 32 pixels, all weights random; thresholds between good and disturbed images."""
    model, rng, size = Model.create("resnet18"), np.random.default_rng(0), 32
    options = {"model": model, "preprocess": lambda x: x.astype(jnp.float32) / 255, "matching": "efdm"}
    score = jax.jit(functools.partial(score_batch, **options))
    smooth = rng.integers(80, 176, (3, 4, 4, 3)).astype(np.uint8)
    images = [np.kron(image, np.ones((h, w, 1), np.uint8)) for image, (h, w) in zip(smooth, [(8, 8), (9, 8), (7, 11)])]
    uncalibrated = Detector(random_variables(model, size, rng), score, size, 4)
    seen, disturbed = (
        uncalibrated(np.stack([resize(image, size) for image in some]))
        for some in (images, [other for image in images for other in trials.disturbed(image)])
    )
    between = [np.array([(a.min() + b.max()) / 2], np.float32) for a, b in zip(seen[::2], disturbed[::2])]
    said = manifest(size=size, resize=0, rules={"ng": None, "review": 1, "drift": 1}, n=1, matching="efdm")
    detector = dataclasses.replace(uncalibrated, record=Record(said, {"efdm": {}}, {"efdm": Calibration(*between)}))
    differences = export_detector(detector, tmp_path / "part.gnlx", images=images)
    assert differences.keys() == {"score", "map", "drift"}
    content = container.read_container(tmp_path / "part.gnlx")
    assert content.manifest["outputs"] == ["score", "map", "drift"]
    assert not re.search(rb"\.py|/gnl_jax|/home/", content.program)


@pytest.mark.slow
def test_a_memory_banks_program_takes_any_number_of_images():
    """One and three, with two sizes, matched: what the detector says of them."""
    sizes = (BankSize(Fraction(1), (2,)), BankSize(Fraction(1, 2), (1,)))
    method = small_banks.make(BankOptions(sizes=sizes, rows=40), small_banks.MATCHED)
    detector = make_detector(method, None, small_banks.pictures(5, size=64), size=64, batch_size=2)
    program, outputs, leaves = make_program(detector, platforms=("cpu",))
    call = jax.export.deserialize(bytearray(program)).call
    for n in (1, 3):
        images = small_banks.pictures(n, seed=3, size=64)
        expected = detector(images)
        for name, found in zip(outputs, call(leaves, images), strict=True):
            np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-5, atol=1e-6)
