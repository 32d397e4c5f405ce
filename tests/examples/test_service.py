"""examples/service.py with real requests on the loopback; needs the extra `serve`."""

import contextlib
import http.client
import importlib.util
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from bright import detector, onnx_model
from PIL import Image

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")

EXAMPLE = Path(__file__).parents[2] / "examples" / "service.py"


@pytest.fixture(scope="module")
def service():
    spec = importlib.util.spec_from_file_location("service", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def served(app):
    """Serves in a thread; the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def ask(port, method, path, body=None):
    """(status, answer as JSON)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else None
    finally:
        connection.close()


def picture(path, value):
    Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(path)
    return path


def test_it_decides_as_the_detector_does(service, tmp_path):
    d = detector(batch_size=1)
    paths = [picture(tmp_path / f"{v}.png", v) for v in (20, 125, 255)]
    with served(service.make_app(d, name="part.gnl", sha256="abc")) as port, ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda path: ask(port, "POST", "/inspect", path.read_bytes()), paths))
        for path, (status, answer) in zip(paths, answers):
            expected = d.inspect(path)
            assert status == 200
            assert (answer["decision"], answer["score"]) == (expected.decision, expected.score)
            assert answer["boxes"] == [list(box) for box in expected.boxes]
        assert ask(port, "GET", "/health") == (
            200,
            {"status": "ok", "detector": "part.gnl", "sha256": "abc", "in_work": 0},
        )


def test_what_is_no_image_has_no_decision(service, tmp_path):
    whole = picture(tmp_path / "a.png", 20).read_bytes()
    with served(service.make_app(detector(), name="x", most_bytes=1000)) as port:
        for data in (b"", b"text", whole[: len(whole) // 2]):
            status, answer = ask(port, "POST", "/inspect", data)
            assert status == 422
            assert list(answer) == ["error"]
        assert ask(port, "POST", "/inspect", bytes(1001))[0] == 413
        assert ask(port, "GET", "/inspect")[0] == 405
        assert ask(port, "GET", "/other")[0] == 404
        assert ask(port, "POST", "/inspect", whole)[0] == 200


def test_overload_is_refused_and_passes(service, tmp_path):
    data, d, go = picture(tmp_path / "a.png", 20).read_bytes(), detector(batch_size=1), threading.Event()

    class Slow:
        shape = d.shape

        def __call__(self, images):
            return d(images)

        def inspect(self, data):
            assert go.wait(20)
            return d.inspect(data)

    with served(service.make_app(Slow(), name="x", at_once=1, waiting=1)) as port, ThreadPoolExecutor(2) as pool:
        first = [pool.submit(ask, port, "POST", "/inspect", data) for _ in range(2)]
        while ask(port, "GET", "/health")[1]["in_work"] < 2:  # it answers meanwhile
            time.sleep(0.01)
        status, answer = ask(port, "POST", "/inspect", data)
        assert (status, answer) == (503, {"error": "2 images are in work or waiting; try again"})
        go.set()
        assert [future.result()[0] for future in first] == [200, 200]
        assert ask(port, "POST", "/inspect", data)[0] == 200


def test_options_without_a_meaning(service):
    with pytest.raises(ValueError, match="got at_once 0"):
        service.make_app(detector(), name="x", at_once=0)


def test_an_onnx_model_is_served_too(service, tmp_path):
    pytest.importorskip("onnxruntime")
    d = onnx_model(tmp_path / "part.onnx")
    with served(service.make_app(service.open_file(str(tmp_path / "part.onnx")), name="part.onnx")) as port:
        for value in (20, 125, 255):
            path = picture(tmp_path / f"{value}.png", value)
            status, answer = ask(port, "POST", "/inspect", path.read_bytes())
            expected = d.inspect(path)
            assert (status, answer["decision"], answer["boxes"]) == (
                200,
                expected.decision,
                [*map(list, expected.boxes)],
            )
            assert answer["score"] == pytest.approx(expected.score, rel=1e-6)
        assert ask(port, "POST", "/inspect", b"no image")[0] == 422


@pytest.fixture
def load_program():
    """experiments/speed/service_load.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "service_load", EXAMPLE.parents[1] / "experiments/speed/service_load.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("detector", "images", "requests", "clients", "overload"):
        delattr(module.flags.FLAGS, name)


@pytest.mark.slow
def test_under_load_memory_is_flat_and_nothing_is_lost(service, load_program, tmp_path):
    """Service and clients share this process."""
    pytest.importorskip("onnxruntime")
    onnx_model(tmp_path / "part.onnx")
    images = [picture(tmp_path / f"{value}.png", value).read_bytes() for value in (20, 125, 255)]
    app = service.make_app(service.open_file(str(tmp_path / "part.onnx")), name="x", at_once=1, waiting=3)
    requests = 2000
    with served(app) as port:
        found = load_program.steady(port, os.getpid(), images, requests=requests, clients=4)
        assert len(found.seconds) == requests
        assert found.wrong == 0
        assert found.memory[-1] < found.memory[1] + 10  # MiB
        statuses = load_program.overload(port, images * 10, clients=40)
        assert set(statuses) == {200, 503}
        assert statuses.total() == 300
        assert ask(port, "POST", "/inspect", images[0])[0] == 200
    p50, p99 = 1000 * np.quantile(found.seconds, (0.5, 0.99))
    print(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, memory {found.memory}, {dict(statuses)}")
