"""Each step of the graph against NumPy or this package's own function, run by onnxruntime."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from onnx_graphs import built, by_onnxruntime, by_openvino

from gnl_jax.deploy.onnx import matching, memory_bank, pixels, scoremap
from gnl_jax.deploy.onnx.decision import Band, Bounds, bounds, decide, decided, p_value
from gnl_jax.deploy.onnx.drift import stage_drift
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.detection.record import Calibration, Record, rule_record
from gnl_jax.detection.threshold import Rule, p_counts
from gnl_jax.images.resize import Geometry
from gnl_jax.images.resize import resize as by_pillow
from gnl_jax.methods.base import Prediction
from gnl_jax.ops.drift import channel_deviation, drift_score, middle_ranks
from gnl_jax.ops.matching import MATCHINGS, sort_features
from gnl_jax.ops.nearest import half_squared_norms, nearest, reweighted_score
from gnl_jax.ops.patches import half_pixel_matrix
from gnl_jax.ops.scoremap import image_score, score_map

RUNTIMES = {"onnxruntime": by_onnxruntime, "openvino": by_openvino}


def runtime(name):
    if name == "openvino":
        pytest.importorskip("openvino")
    return RUNTIMES[name]


@pytest.fixture(params=sorted(RUNTIMES))
def run(request):
    return runtime(request.param)


def picture(h, w, kind, seed=0):
    if kind == "noise":
        return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    rows, columns = np.indices((h, w))
    return np.repeat(255 * ((rows + columns) // (1 if kind == "checkerboard" else 2) % 2)[..., None], 3, 2).astype(
        np.uint8
    )


SHAPES = [(23, 57, 16, 0), (57, 23, 16, 21), (16, 40, 16, 0), (1, 5, 13, 18), (96, 301, 32, 36)]


@pytest.mark.parametrize("filter", ["bilinear", "lanczos"])
@pytest.mark.parametrize(("h", "w", "size", "side"), SHAPES)
def test_the_resize_equals_pillow_to_the_last_bit(h, w, size, side, filter, run):
    geometry = Geometry(size, side, filter)
    images = np.stack([picture(h, w, kind) for kind in ("noise", "checkerboard", "stripes")])

    def build(g, x):
        return g.add(
            "Transpose", pixels.resize(g, pixels.as_planes(g, x), geometry, height=h, width=w), perm=[0, 2, 3, 1]
        )

    (got,) = run(build, [images], [("float32", 4)])
    np.testing.assert_array_equal(got, np.stack([by_pillow(image, geometry) for image in images]))


def test_a_resize_that_float32_cannot_sum_exactly_is_refused():
    with pytest.raises(ValueError, match=r"got a side of 9000 pixels for 32 in the detector, where .* pixels make one"):
        pixels.weight_matrix(9000, Geometry(32))


def features(kind, b=3, c=5, side=8, seed=0):
    """[b c h w] after ReLU: with zeros, with positive ties, or constant."""
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(0, 1, (b, c, side, side)), 0)
    x = {"zeros": x, "ties": np.round(x, 1), "constant": np.full_like(x, 0.5), "none": np.zeros_like(x)}[kind]
    return x.astype(np.float32)


KINDS = ("zeros", "ties", "constant", "none")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", sorted(matching.SORTS))
def test_sorting_is_stable(kind, target, run, monkeypatch):
    """Each target's own runtime; TensorRT's two halves run by onnxruntime, at a limit that makes them needed."""
    if (target == "openvino") != (run is by_openvino):
        pytest.skip("another target's runtime")
    monkeypatch.setattr(matching, "MOST_OF_TENSORRT", 40)
    x = features(kind)
    sort = matching.SORTS[target]
    values, order = run(
        lambda g, x: matching.sort_channels(g, x, 64, sort=sort)[:2], [x], [("float32", 3), ("int64", 3)]
    )
    flat = x.reshape(3, 5, 64)
    expected = np.argsort(flat, axis=-1, kind="stable")
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(flat, expected, -1))


def test_tensorrt_is_given_halves_it_can_return_and_no_more(monkeypatch):
    g = Graph()
    matching.sort_in_halves(g, "x", 4096)
    sizes = [int(g.constants[node.inputs[1]][0]) for node in g.nodes if node.operator == "TopK"]
    assert sizes == [2048, 2048]
    with pytest.raises(ValueError, match="a stage has 16384 values in each channel, expected at most 7680"):
        matching.sort_in_halves(g, "x", 16384)


def test_openvino_needs_the_precautions():
    """Its TopK takes equal values in any order: without the second sort the order is wrong."""
    pytest.importorskip("openvino")
    x = features("none", side=32)

    def plain(g, x):
        return matching.sort_once(g, g.add("Reshape", x, g.ints(0, 0, 1024)), 1024)

    _, order = by_openvino(plain, [x], [("float32", 3), ("int64", 3)])
    assert not np.array_equal(order, np.broadcast_to(np.arange(1024), order.shape))


def test_no_two_zeros_are_sorted_as_equals():
    """What any runtime's TopK is given: of the zeros that ReLU left, no two are equal."""
    seen = {}

    def build(g, x):
        def spy(g, distinct, n):
            seen["x"] = distinct
            return matching.sort_once(g, distinct, n)

        matching.sort_channels(g, x, 64, sort=spy)
        return seen["x"]

    (given,) = by_onnxruntime(build, [features("none")], [("float32", 3)])
    assert all(len(set(channel)) == 64 for channel in given.reshape(-1, 64).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(MATCHINGS))
def test_matching_equals_ours(kind):
    x = features("ties", side=4)
    reference = np.sort(np.random.default_rng(1).gamma(1, 1, (16, 5)).astype(np.float32), axis=0)

    def build(g, x):
        found = matching.sort_channels(g, x, 16, sort=matching.sort_once)
        return matching.match(g, x, found, reference, kind=kind, alpha=0.3)

    (got,) = by_onnxruntime(build, [x], [("float32", 4)])
    expected = MATCHINGS[kind](jnp.asarray(x.transpose(0, 2, 3, 1)), jnp.asarray(reference), alpha=0.3)
    np.testing.assert_allclose(got.transpose(0, 2, 3, 1), expected, rtol=2e-6, atol=1e-6)


def test_drift_equals_ours_in_batches(run):
    x, rng = features("zeros", b=4), np.random.default_rng(2)
    middle = np.asarray(middle_ranks(jnp.asarray(x.transpose(0, 2, 3, 1))))
    barycentre, spread = middle[0] + 0.1, rng.gamma(1, 1, 5).astype(np.float32)
    spread[2] = 0  # below the least that counts

    def build(g, x):
        sort = matching.sort_once if run is by_onnxruntime else matching.sort_by_position
        return stage_drift(g, matching.sort_channels(g, x, 64, sort=sort), barycentre, spread, 64)

    expected = drift_score([channel_deviation(jnp.asarray(middle), jnp.asarray(barycentre))], [jnp.asarray(spread)])
    for batch in (1, 4):
        got = np.concatenate([run(build, [x[i : i + batch]], [("float32", 1)])[0] for i in range(0, 4, batch)])
        np.testing.assert_allclose(got, expected, rtol=2e-6)


def test_openvino_divides_a_mean_by_the_wrong_channels():
    """Why the division comes before the mean: the other way round is wrong there."""
    pytest.importorskip("openvino")
    x, spread = features("zeros", b=4, c=64), np.random.default_rng(2).gamma(1, 1, 64).astype(np.float32)

    def avoided(g, x):
        flat = g.add("Reshape", x, g.ints(0, 0, 64))
        return g.add("Div", g.add("ReduceMean", flat, axes=[2], keepdims=0), spread[None])

    def taken(g, x):
        flat = g.add("Reshape", x, g.ints(0, 0, 64))
        return g.add("ReduceMean", g.add("Div", flat, spread[None, :, None]), axes=[2], keepdims=0)

    expected = x.reshape(4, 64, 64).mean(-1) / spread
    np.testing.assert_allclose(by_openvino(taken, [x], [("float32", 2)])[0], expected, rtol=1e-5)
    assert not np.allclose(by_openvino(avoided, [x], [("float32", 2)])[0], expected, rtol=1e-2)


def test_the_score_map_equals_ours():
    rng = np.random.default_rng(3)
    shapes = [(2, 4, 8, 8), (2, 6, 4, 4), (2, 8, 2, 2)]
    stages = [rng.normal(0, 1, s).astype(np.float32) for s in shapes * 2]
    stages[3][0, :, 1, 1] = 0  # a vector without a direction

    def build(g, *names):
        result = scoremap.score_map(g, names[:3], names[3:], size=32)
        return scoremap.image_score(g, result), result

    score, result = by_onnxruntime(build, stages, [("float32", 1), ("float32", 3)])
    ours = [jnp.asarray(stage.transpose(0, 2, 3, 1)) for stage in stages]
    expected = score_map(ours[:3], ours[3:], size=(32, 32))
    np.testing.assert_allclose(result, expected, atol=3e-6)
    np.testing.assert_allclose(score, image_score(expected), rtol=2e-6)


def record(*, ng=1, review=3, drift=2, n=19):
    rules = [rule_record(Rule(Fraction(k, n + 1), k, n)) if k else None for k in (ng, review, drift)]
    rng = np.random.default_rng(4)
    calibration = Calibration(*(np.sort(rng.gamma(2, 1, n).astype(np.float32)) for _ in range(2)))
    manifest = {"matching": "none", "rules": dict(zip(("ng", "review", "drift"), rules, strict=True))}
    return Record(manifest, {"none": {}}, {"none": calibration})


def around(values):
    """Each value, its neighbours in float32, and others between: float32 [n]."""
    values = np.asarray(values, np.float32)
    near = [np.nextafter(values, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([values, *near, values * np.float32(1.01), values * np.float32(0.99)])


@pytest.mark.parametrize("rules", [{}, {"ng": 0}, {"drift": 0}, {"ng": 3}])
@pytest.mark.parametrize("band", [Band(), Band(1e-3, 2e-3)])
def test_decisions_equal_the_detectors_outside_the_band_and_are_review_inside(rules, band):
    made = record(**rules)
    calibration = made.calibration
    score, drift = (a.ravel() for a in np.meshgrid(around(calibration.score), around(calibration.drift)))
    where = bounds(made, band)

    def build(g, score, drift):
        p_values = p_value(g, score, calibration.score), p_value(g, drift, calibration.drift)
        return (*decide(g, score, drift, where), *p_values)

    kinds = [("int32", 1), ("int32", 1), ("float32", 1), ("float32", 1)]
    decision, reason, p, drift_p = by_onnxruntime(build, [score, drift], kinds)
    np.testing.assert_array_equal([decision, reason], decided(score, drift, where))
    np.testing.assert_allclose(p, p_counts(calibration.score, score) / 20, rtol=1e-7)
    np.testing.assert_allclose(drift_p, p_counts(calibration.drift, drift) / 20, rtol=1e-7)
    said = made.decide(Prediction(score, None, drift))
    expected = np.array([["OK", "REVIEW", "NG"].index(d.decision) for d in said])
    because = np.array([["", "score", "drift"].index(d.reason) for d in said])
    limits = [(score, t, band.score) for t in made.thresholds if t is not None]
    if made.drift_rule:
        limits.append((drift, made.drift_rule.threshold(calibration.drift), band.drift))
    inside = np.any([np.abs(x - np.float64(t)) <= b * t for x, t, b in limits], axis=0)
    np.testing.assert_array_equal(decision[~inside], expected[~inside])
    np.testing.assert_array_equal(reason[~inside], because[~inside])
    assert inside.any()
    assert (decision[inside] != 0).all()
    by_score = np.any([np.abs(x - np.float64(t)) <= b * t for x, t, b in limits if x is score], axis=0)
    assert (decision[by_score] == 1).all()
    assert set(decision) == ({0, 1} if rules.get("ng") == 0 else {0, 1, 2})


def test_what_is_no_number_is_never_ok():
    where = Bounds(np.float32(1), np.float32(2), np.float32(3))
    score = np.array([np.nan, 0.5, 0.5, np.inf], np.float32)
    drift = np.array([0, np.nan, 0, 0], np.float32)
    decision, reason = by_onnxruntime(lambda g, s, d: decide(g, s, d, where), [score, drift], [("int32", 1)] * 2)
    assert decision.tolist() == [1, 1, 0, 2]
    assert reason.tolist() == [1, 2, 0, 1]


def bank_reference(stages, bank):
    """The distances' grid in float64, by loops over everything."""
    joined = []
    for stage in stages:
        b, c, h, w = stage.shape
        padded = np.pad(np.asarray(stage, np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        mean = sum(padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)) / 9
        side = stages[0].shape[2]
        grown = np.zeros((b, c, side, side))
        for i in range(side):
            for j in range(side):
                y, x = (np.clip((k + 0.5) * h / side - 0.5, 0, h - 1) for k in (i, j))
                (y0, x0), (y1, x1) = (int(y), int(x)), (min(int(y) + 1, h - 1), min(int(x) + 1, w - 1))
                top = mean[:, :, y0, x0] * (1 - x + x0) + mean[:, :, y0, x1] * (x - x0)
                low = mean[:, :, y1, x0] * (1 - x + x0) + mean[:, :, y1, x1] * (x - x0)
                grown[:, :, i, j] = top * (1 - y + y0) + low * (y - y0)
        joined.append(grown)
    patches = np.concatenate(joined, 1)
    return np.sqrt(((patches[:, None] - np.asarray(bank, np.float64)[None, :, :, None, None]) ** 2).sum(2)).min(1)


@pytest.mark.parametrize("rows", [3, 64])
def test_the_memory_bank_equals_a_reference(rows, monkeypatch, run):
    """In one product, and in several parts of the bank."""
    monkeypatch.setattr(memory_bank, "BANK_ROWS", rows)
    rng = np.random.default_rng(5)
    stages = [rng.gamma(1, 1, shape).astype(np.float32) for shape in ((2, 3, 8, 8), (2, 5, 4, 4))]
    bank = rng.gamma(1, 1, (20, 8)).astype(np.float32)
    matrix = scoremap.gaussian_matrix(32) @ half_pixel_matrix(32, 8)
    expected = matrix @ ((bank_reference(stages, bank) - 0.5) / 2) @ matrix.T
    arrays = {"rows": bank, "half_norms": (bank**2).sum(1) / 2, "location": np.float32(0.5), "scale": np.float32(2)}

    def build(g, *names):
        options = {"sides": (8, 4), "channels": 8, "bank": arrays, "size": 32, "standardised": True}
        return memory_bank.memory_bank_head(g, names, **options).map

    (result,) = run(build, stages, [("float32", 3)])
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_a_row_of_the_bank_is_at_distance_zero_and_of_equals_the_first_is_nearest(monkeypatch):
    monkeypatch.setattr(memory_bank, "BANK_ROWS", 7)
    bank = np.random.default_rng(5).normal(100, 1, (20, 8)).astype(np.float32)
    bank[15] = bank[3]
    patches = bank[None, [3, 15, 19]] + np.array([[[0], [0], [1e-3]]], np.float32)
    got, rows = by_onnxruntime(
        lambda g, x: memory_bank.nearest(g, x, bank, (bank**2).sum(1) / 2), [patches], [("float32", 2), ("int64", 2)]
    )
    np.testing.assert_allclose(got, [[0, 0, np.sqrt(8) * 1e-3]], rtol=1e-2)
    assert (got[0, :2] == 0).all()
    assert rows.tolist() == [[3, 3, 19]]


@pytest.mark.parametrize("neighbours", [1, 4, 50])
def test_patchcores_image_score_equals_ours(neighbours, run):
    rng = np.random.default_rng(6)
    patches, bank = rng.normal(0, 1, (3, 12, 5)).astype(np.float32), rng.normal(0, 1, (9, 5)).astype(np.float32)
    half_norms = np.asarray(half_squared_norms(jnp.asarray(bank)))

    def build(g, x):
        distances, rows = memory_bank.nearest(g, x, bank, half_norms)
        return memory_bank.reweighted_score(g, x, distances, rows, bank, neighbours=neighbours)

    (got,) = run(build, [patches], [("float32", 1)])
    for one, score in zip(patches, got, strict=True):
        distances, rows = nearest(jnp.asarray(one), jnp.asarray(bank), jnp.asarray(half_norms))
        with jax.numpy_rank_promotion("allow"):
            expected = reweighted_score(jnp.asarray(one), distances, rows, jnp.asarray(bank), neighbours=neighbours)
        np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_a_bank_that_does_not_fit_is_refused():
    bank = {"rows": np.zeros((20, 8), np.float32), "half_norms": np.zeros(19, np.float32)}
    with pytest.raises(ValueError, match=r"bank: got rows \[20, 8\] and half norms \[19\], expected \[m 8\]"):
        memory_bank.memory_bank_head(Graph(), [], sides=(8,), channels=8, bank=bank, size=32)


def test_equal_constants_are_kept_once_and_equal_graphs_have_equal_bytes():
    g = Graph()
    assert g.constant([1, 2]) == g.constant(np.array([1.0, 2.0])) != g.constant([[1, 2]])
    assert g.constant(0) != g.constant(0, np.int64)
    x = [np.zeros((1, 3), np.float32)]
    build = lambda g, x: g.add("Add", x, 2.0)  # noqa: E731
    assert built(build, x, [("float32", 2)]) == built(build, x, [("float32", 2)])


def test_sorted_features_are_those_of_ours():
    x = features("zeros", side=4)
    (got,) = by_onnxruntime(
        lambda g, x: matching.sort_channels(g, x, 16, sort=matching.sort_once).values, [x], [("float32", 3)]
    )
    np.testing.assert_array_equal(got.transpose(0, 2, 1), sort_features(jnp.asarray(x.transpose(0, 2, 3, 1))))
