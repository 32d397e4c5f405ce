"""The C++ example is built against OpenVINO's wheel and decides as the detector does; needs the extra `openvino`."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from bright import onnx_model
from PIL import Image

openvino = pytest.importorskip("openvino")
if not (shutil.which("cmake") and shutil.which("c++")):
    pytest.skip("no cmake or no C++ compiler", allow_module_level=True)

SOURCE = Path(__file__).parents[2] / "examples" / "openvino_cpp"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build")
    found = Path(openvino.__file__).parent / "cmake"
    for command in (["cmake", "-S", SOURCE, "-B", folder, f"-DOpenVINO_DIR={found}"], ["cmake", "--build", folder]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "inspect"


def run(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True)


def test_it_decides_as_the_detector(program, tmp_path):
    detector, paths, expected = onnx_model(tmp_path / "part.onnx"), [], []
    for value in (20, 123, 125, 255):
        image = np.full((32, 32, 3), value, np.uint8)
        paths.append(tmp_path / f"{value}.ppm")
        Image.fromarray(image).save(paths[-1])
        expected.append(detector.inspect(image))
    done = run(program, tmp_path / "part.onnx", *paths)
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[str(path), e.decision] for path, e in zip(paths, expected)]
    np.testing.assert_allclose([float(row[2]) for row in rows], [e.score for e in expected], rtol=1e-6)
    np.testing.assert_allclose([float(row[3]) for row in rows], [e.p_value for e in expected], rtol=1e-6)
    assert {row[1] for row in rows} == {"OK", "REVIEW", "NG"}


def test_what_cannot_be_used_is_never_ok(program, tmp_path):
    onnx_model(tmp_path / "part.onnx")
    bad = {"text": b"no image", "cut": b"P6 32 32 255\n" + bytes(100), "other": b"P6 1 1 255\n" + bytes(3)}
    for name, data in bad.items():
        (tmp_path / f"{name}.ppm").write_bytes(data)
    done = run(program, tmp_path / "part.onnx", *(tmp_path / f"{name}.ppm" for name in bad))
    assert done.returncode == 3
    assert [line.split(",")[1] for line in done.stdout.splitlines()] == ["ERROR"] * 3
    assert run(program, tmp_path / "absent.onnx", tmp_path / "cut.ppm").returncode == 1
