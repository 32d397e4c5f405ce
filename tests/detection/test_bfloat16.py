"""A detector in bfloat16: folded networks and features sorted in 16 bits, from training to the exported program."""

import jax
import numpy as np
import pytest
from fitted import config, digits

import gnl_jax
from gnl_jax.deploy import runtime
from gnl_jax.deploy.export import export_detector
from gnl_jax.detection.artifact import save
from gnl_jax.detection.detector import predict
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import FitOptions

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.slow]


@pytest.fixture(scope="module")
def detector():
    narrow = config()
    narrow.precision = "bfloat16"
    return fit(digits()[0], narrow, options=FitOptions(epochs=2))


def test_its_networks_are_folded(detector):
    for name in ("teacher", "student"):
        names = [
            jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(detector.variables[name])
        ]
        assert names
        assert not [name for name in names if "scale" in name or "batch_stats" in name]


def test_it_tells_defects_and_drift_apart(detector):
    _, good, bad = digits()
    of_good, of_bad, dark = (predict(detector, images) for images in (good, bad[:40], good // 2))
    assert np.median(of_bad.score) > np.median(of_good.score)
    assert 0.5 < np.median(of_good.drift) < 2  # 1 on average for what it was made from
    assert dark.drift.min() > of_good.drift.max()


def test_saved_and_exported_it_says_the_same(detector, tmp_path):
    good, bad = digits()[1], digits()[2]
    images = np.concatenate([good[:4], bad[:4]])
    expected = predict(detector, images)
    save(detector, tmp_path / "d.gnl")
    for a, b in zip(predict(gnl_jax.load(tmp_path / "d.gnl"), images), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    differences = export_detector(detector, tmp_path / "d.gnlx", images=list(good[:4]))
    assert max(differences.values()) <= 1e-5
    np.testing.assert_allclose(runtime.load(tmp_path / "d.gnlx")(images).score, expected.score, rtol=1e-5)
