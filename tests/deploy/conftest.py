"""What several files of tests of ONNX models share; one process runs them (the group "onnx")."""

import pytest


@pytest.fixture(scope="session")
def shipped(tmp_path_factory):
    """(what was measured, the model's path) of the matched detector, in a folder with its runtime."""
    from onnx_detector import good_images, matched
    from run_folders import small_architecture

    from gnl_jax.deploy.onnx.export import export_onnx

    path = tmp_path_factory.mktemp("onnx") / "part.onnx"
    images, names = good_images(3, seed=2), ["a.png", "b.png", "c.png"]
    with small_architecture():
        return export_onnx(matched(), path, images=images, names=names), path
