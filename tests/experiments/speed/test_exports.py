"""The program that compares a detector with its exports, on a small memory bank and its ONNX model."""

import json

import programs
import pytest
from PIL import Image
from small_banks import defective, pictures

pytestmark = pytest.mark.slow
N = 10  # images of which two are defective


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """part.gnl, part.onnx and images/, none of which it was fitted or calibrated with."""
    import gnl_jax
    from gnl_jax.config import set_method
    from gnl_jax.deploy.onnx.export import export_onnx
    from gnl_jax.detection.options import inspection_config

    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    folder = tmp_path_factory.mktemp("exports")
    config = set_method(inspection_config(), "patchcore", like="mvtec")
    config.teacher.weights, config.dataset.cache = "random", ""
    detector = gnl_jax.fit(pictures(40), config, size=32)
    gnl_jax.save(detector, folder / "part.gnl")
    export_onnx(detector, folder / "part.onnx", images=pictures(2, seed=1))
    (folder / "images").mkdir()
    seen = pictures(N, seed=2)
    for i, image in enumerate([*seen[:-2], *map(defective, seen[-2:])]):
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
    return folder


def test_an_export_is_compared_with_its_detector(folder):
    part, model, out = (folder / name for name in ("part.gnl", "part.onnx", "out.json"))
    given = (f"--detector={part}", f"--model=onnxruntime:{model}", f"--images={folder}/images", "--turns=1")
    done = programs.run("speed/exports", *given, f"--out={out}")
    assert done.returncode == 0, done.stderr
    ours, exported = json.loads(out.read_text())["rows"]
    for row, runtime, file in ((ours, "jax", part), (exported, "onnxruntime", model)):
        assert row["program"] == f"{runtime}:{file}"
        assert row["bytes"] == file.stat().st_size
        assert row["images"] == N
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert min(row["load_seconds"], row["images_per_second_at_8"]) > 0
    assert "errors" not in ours
    assert set(exported["errors"]) == {"score", "map", "drift"}
    assert max(exported["errors"].values()) < 1e-4
    assert exported["other_decisions"] == 0
    assert f"{N} images of 32x32" in done.stdout
    assert done.stdout.count(f"| 0 of {N} differ |") == 1


def test_a_model_without_a_runtime_is_named(folder):
    done = programs.run_quickly("speed/exports", f"--model=tensorrt:{folder / 'part.onnx'}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --model: got 'tensorrt:{folder / 'part.onnx'}', expected RUNTIME:FILE")
