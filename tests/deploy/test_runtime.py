"""The runtime that ships beside an export: Pillow's pixels, the container's bytes, the detector's batches and rules."""

import hashlib
import json
import math
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnl_jax.deploy import runtime
from gnl_jax.detection import container, threshold
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.record import Calibration, Record, rule_record
from gnl_jax.images.resize import Geometry
from gnl_jax.images.resize import resize as by_pillow
from gnl_jax.methods.base import Prediction

KINDS = {"noise": None, "checkerboard": 1, "stripes": 2}


def picture(h, w, kind="noise", seed=0):
    """Noise, or black and white next to each other, where the filters overshoot most."""
    if kind == "noise":
        return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    rows, columns = np.indices((h, w))
    return np.repeat(255 * ((rows + columns) // KINDS[kind] % 2)[..., None], 3, axis=2).astype(np.uint8)


def same_as_pillow(image, size, resize, filter):
    got = runtime.resize(image, size, resize=resize, filter=filter)
    np.testing.assert_array_equal(got, by_pillow(image, Geometry(size, resize, filter)))
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous


@settings(max_examples=150, deadline=None)
@given(
    h=st.integers(1, 120),
    w=st.integers(1, 120),
    size=st.integers(1, 80),
    margin=st.integers(0, 13),
    filter=st.sampled_from(sorted(runtime.FILTERS)),
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 999),
)
@example(h=1, w=1, size=1, margin=0, filter="lanczos", kind="noise", seed=0)
@example(h=1, w=1, size=64, margin=3, filter="bilinear", kind="noise", seed=0)
@example(h=97, w=89, size=31, margin=0, filter="lanczos", kind="checkerboard", seed=0)
@example(h=1, w=120, size=7, margin=0, filter="lanczos", kind="stripes", seed=0)
def test_equals_pillow_to_the_last_bit(h, w, size, margin, filter, kind, seed):
    same_as_pillow(picture(h, w, kind, seed), size, size + margin if margin else 0, filter)


@pytest.mark.parametrize("filter", sorted(runtime.FILTERS))
@pytest.mark.parametrize("shape", [(1031, 67), (67, 1031), (256, 256), (256, 300), (300, 256), (255, 257), (8, 2000)])
def test_equals_pillow_on_tall_wide_and_unchanged_images(shape, filter):
    same_as_pillow(picture(*shape), 256, 0, filter)
    same_as_pillow(picture(*shape), 224, 256, filter)


@pytest.mark.parametrize("filter", sorted(runtime.FILTERS))
def test_weights_leave_room_for_32_bits(filter):
    """The bound that lets totals be 32 bits wide: sums of |weights| stay under 2, in fact under 1.58."""
    worst = 0
    for length in (*range(1, 30), 64, 97, 256, 1021):
        for size in (*range(1, 30), 64, 97, 256):
            index, weight = runtime.taps(length, size, filter)
            assert index.dtype == weight.dtype == np.int32
            assert index.min() >= 0
            assert index.max() < length
            worst = max(worst, int(np.abs(weight.astype(np.int64)).sum(1).max()))
    assert worst < 1.58 * 2**runtime.PRECISION
    assert 255 * 1.58 * 2**runtime.PRECISION + 2 ** (runtime.PRECISION - 1) < 2**31


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))])
def test_other_images_are_not_resized(bad):
    with pytest.raises(ValueError, match=r"image: got .*expected uint8 \[h w 3\]"):
        runtime.resize(bad, 8)


@pytest.mark.parametrize(("size", "resize", "filter"), [(8, 0, "nearest"), (8, 7, "bilinear"), (0, 0, "lanczos")])
def test_geometries_without_a_meaning(size, resize, filter):
    with pytest.raises(ValueError, match=f"size {size}, resize {resize}, filter '{filter}', expected"):
        runtime.resize(picture(4, 4), size, resize=resize, filter=filter)


ARRAYS = {
    "variables/00000": np.arange(6, dtype=np.float32).reshape(2, 3),
    "variables/00001": np.array([True, False, True]),
    "variables/00002": np.float32(2.5),
    "i32": np.array([[-1, 2**31 - 1]], np.int32),
    "i64": np.array([-(2**40)], np.int64),
    "u32": np.array([2**32 - 1], np.uint32),
    "u8": np.arange(7, dtype=np.uint8),
    "empty": np.zeros((0, 3), np.float32),
}
DATA = container.pack({"kind": "export", "é": [1, None, 0.5]}, ARRAYS, b"program")


def test_the_container_is_that_of_the_package():
    names = ("MAGIC", "VERSION", "HEADER", "_HASHED_FROM")
    mine, theirs = ([getattr(module, name) for name in names] for module in (runtime, container))
    assert [getattr(x, "format", x) for x in mine] == [getattr(x, "format", x) for x in theirs]
    got, expected = runtime.unpack(DATA, name="x"), container.unpack(DATA, name="x")
    assert got.manifest == expected.manifest
    assert got.program == expected.program == b"program"
    assert got.arrays.keys() == expected.arrays.keys()
    for name, array in got.arrays.items():
        assert array.dtype == expected.arrays[name].dtype
        assert array.shape == expected.arrays[name].shape
        np.testing.assert_array_equal(array, expected.arrays[name])


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"])
def test_every_dtype_of_safetensors(dtype):
    arrays = {"a": np.arange(24).reshape(2, 3, 4).astype(dtype), "b": np.zeros((), dtype)}
    got = runtime.read_arrays(safetensors.numpy.save(arrays))
    for name, array in arrays.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(got[name], array)


def refusals(data):
    """What the runtime and the package say of a file's bytes; both refuse it."""
    said = []
    for module in (runtime, container):
        with pytest.raises(module.ArtifactError, match=r"part\.gnlx: ") as error:
            module.unpack(data, name="part.gnlx")
        said.append(str(error.value))
    return said


def resealed(data):
    """The bytes with the SHA-256 they should have, so that what comes after it is tested."""
    return data[:8] + hashlib.sha256(data[40:]).digest() + data[40:]


@pytest.mark.parametrize("at", [0, 7, 8, 39, 40, 44, 60, 68, 83, 84, 150, len(DATA) - 1])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_changed_bit_is_found(at, bit):
    changed = bytearray(DATA)
    changed[at] ^= 1 << bit
    got, _ = refusals(bytes(changed))
    assert ("another kind of file" if at < 8 else "SHA-256 differs") in got


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_anywhere_is_found(data):
    at = data.draw(st.integers(0, len(DATA) - 1))
    length = data.draw(st.integers(1, 16))
    noise = data.draw(st.binary(min_size=length, max_size=length))
    changed = DATA[:at] + noise + DATA[at + length :]
    if changed != DATA:
        refusals(changed)


@pytest.mark.parametrize("length", [0, 1, 8, 40, 83, 84, len(DATA) - 1])
def test_a_cut_is_found(length):
    refusals(DATA[:length])


@pytest.mark.parametrize("more", [b"\0", b"program", bytes(1000)])
def test_what_follows_is_found(more):
    assert "SHA-256" in refusals(DATA + more)[0]
    assert "by its own account" in refusals(resealed(DATA + more))[0]


def test_a_newer_version_names_what_it_needs():
    newer = DATA[:40] + struct.pack("<I16s", 2, b"9.8.7") + DATA[60:]
    assert "SHA-256" in refusals(newer)[0]
    got, expected = refusals(resealed(newer))
    assert got == expected
    assert "got format 2, expected 1 or older; it needs gnl_jax 9.8.7" in got


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("by", [-1, 1, 2**60])
def test_lengths_must_add_up(part, by):
    lengths = list(struct.unpack_from("<QQQ", DATA, 60))
    lengths[part] += by
    got, expected = refusals(resealed(DATA[:60] + struct.pack("<QQQ", *lengths) + DATA[84:]))
    assert got == expected
    assert f"got {len(DATA)} bytes, expected {len(DATA) + by} by its own account" in got


@pytest.mark.parametrize("manifest", [b"{", b"\xff", b'{"a": 1} x'])
def test_a_manifest_that_is_no_json(manifest):
    tensors = safetensors.numpy.save({})
    rest = struct.pack("<I16sQQQ", 1, b"0.1.0", len(manifest), len(tensors), 0) + manifest + tensors
    refusals(resealed(container.MAGIC + bytes(32) + rest))


def safetensors_file(entries, body=bytes(8)):
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + body


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        safetensors_file([1]),
        safetensors_file({"a": F32}, bytes(9)),
        safetensors_file({"a": F32}, bytes(7)),
        safetensors_file({"a": {**F32, "dtype": "F4"}}),
        safetensors_file({"a": {**F32, "shape": [3]}}),
        safetensors_file({"a": {**F32, "shape": [-1, -2]}}),
        safetensors_file({"a": {**F32, "shape": [2.0]}}),
        safetensors_file({"a": {**F32, "shape": "ab"}}),
        safetensors_file({"a": {**F32, "data_offsets": [0, 12]}}),
        safetensors_file({"a": {**F32, "data_offsets": [-8, 0]}}),
        safetensors_file({"a": {**F32, "data_offsets": [8, 0]}}),
        safetensors_file({"a": {**F32, "data_offsets": [0]}}),
        safetensors_file({"a": F32, "b": F32}),
        safetensors_file({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, bytes(12)),
        safetensors_file({"a": F32, "b": {**F32, "data_offsets": [12, 20]}}, bytes(20)),
        safetensors_file({"a": {"dtype": "F32", "shape": [2]}}),
        safetensors_file({"a": 1}),
    ],
)
def test_arrays_that_do_not_fill_their_file_exactly(data):
    with pytest.raises(ValueError, match="arrays: "):
        runtime.read_arrays(data)
    with pytest.raises(safetensors.SafetensorError):
        safetensors.numpy.load(data)


def test_arrays_and_their_remarks():
    got = runtime.read_arrays(safetensors_file({"__metadata__": {"a": "b"}, "a": F32}))
    assert list(got) == ["a"]


def brightness(variables, images):
    maps = np.asarray(images, np.float32).mean(-1) * variables
    return Prediction(maps.max((1, 2)), maps, maps.min((1, 2)))


def fake(*, batch_size=4, outputs=("score", "map", "drift"), rules=None, calibration=None, size=8, score=brightness):
    """An exported detector whose program is NumPy, and the shapes it was run with."""
    shapes = []

    def run(images):
        shapes.append((images.shape, images.dtype))
        return [x for x in score(0.5, images) if x is not None]

    image = {"size": size, "resize": 0, "filter": "bilinear"}
    manifest = {
        "image": image,
        "input": [None, None],
        "outputs": outputs,
        "batch_size": batch_size,
        "rules": rules or {},
    }
    return runtime.Exported(manifest, calibration or {}, run, (size, size)), shapes


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 12])
def test_batches_are_those_of_predict(n):
    exported, shapes = fake()
    detector = Detector(0.5, brightness, size=8, batch_size=4)
    images = np.random.default_rng(n).integers(0, 256, (n, 8, 8, 3), np.uint8)
    expected, got = predict(detector, images), exported(images)
    np.testing.assert_array_equal(got.score, expected.score)
    np.testing.assert_array_equal(got.map, expected.map)
    assert got.map.shape == (n, 8, 8)
    assert got.drift.shape == (n,)
    assert shapes == [((4, 8, 8, 3), np.uint8)] * math.ceil(n / 4)
    if n:
        np.testing.assert_array_equal(got.drift, expected.drift)


def test_what_a_detector_lacks_is_none():
    exported, _ = fake(outputs=("score",), score=lambda v, x: Prediction(brightness(v, x).score))
    assert exported(picture(8, 8)[None])[1:] == (None, None)


@pytest.mark.parametrize("field", ["score", "drift"])
def test_a_score_that_is_no_number_is_an_error_naming_the_image(field):
    def broken(variables, images):
        prediction = brightness(variables, images)
        values = np.where(images[:, 0, 0, 0] == 77, np.nan, prediction.score)
        return prediction._replace(**{field: values})

    images = np.zeros((6, 8, 8, 3), np.uint8)
    images[5, 0, 0, 0] = 77
    with pytest.raises(ValueError, match=f"{field} of image 5: got nan, expected a finite"):
        fake(score=broken)[0](images)


@pytest.mark.parametrize(
    "wrong",
    [picture(8, 8), picture(8, 8)[None, :, :7], np.zeros((1, 8, 8, 3)), [[1]], np.zeros((1, 8, 8, 4), np.uint8)],
)
def test_other_images_are_refused(wrong):
    with pytest.raises(ValueError, match=r"images: got .*expected uint8 \[n 8 8 3\]"):
        fake()[0](wrong)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_decisions_are_those_of_the_record(data):
    """Scores on a coarse grid, so that many tie with calibration scores."""
    grid = st.integers(0, 12).map(lambda i: np.float32(i / 7))
    n, m, b = (data.draw(st.integers(1, 25)) for _ in range(3))
    score, drift = (np.sort(np.array([data.draw(grid) for _ in range(k)], np.float32)) for k in (n, m))
    prediction = Prediction(*(np.array([data.draw(grid) for _ in range(b)], np.float32) for _ in range(3)))
    prediction = prediction._replace(map=None)

    def rule(count):
        return rule_record(threshold.Rule(threshold.parse_rate("1%"), data.draw(st.integers(1, count)), count))

    rules = {"ng": rule(n), "review": rule(n), "drift": rule(m)}
    if rules["ng"]["k"] > rules["review"]["k"] or data.draw(st.booleans()):
        rules["ng"] = None
    if data.draw(st.booleans()):
        rules["drift"] = None
    record = Record({"rules": rules, "matching": "none"}, {"none": {}}, {"none": Calibration(score, drift)})
    exported, _ = fake(rules=rules, calibration={"score": score, "drift": drift})
    expected = [(d.decision, d.reason) for d in record.decide(prediction)]
    assert exported.decide(prediction.score, prediction.drift) == expected


def test_every_decision_there_is():
    nine = np.arange(1, 10, dtype=np.float32)
    rules = {"ng": {"k": 1, "n": 9}, "review": {"k": 3, "n": 9}, "drift": {"k": 1, "n": 9}}
    exported, _ = fake(rules=rules, calibration={"score": nine, "drift": nine})
    score = np.array([9.5, 9, 7.5, 7, 7, 9.5], np.float32)
    drift = np.array([0, 0, 9.5, 9, 9.5, 9.5], np.float32)
    expected = [("NG", "score"), *[("REVIEW", "score")] * 2, ("OK", ""), ("REVIEW", "drift"), ("NG", "score")]
    assert exported.decide(score, drift) == expected
    assert fake(rules={**rules, "drift": None}, calibration={"score": nine})[0].decide(score)[4] == ("OK", "")
    with pytest.raises(ValueError, match="drift: got None"):
        exported.decide(score)
    with pytest.raises(ValueError, match="not finite"):
        exported.decide(score * np.nan, drift)
