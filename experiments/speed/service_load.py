"""Loads examples/service.py as a line of cameras would: how long answers take, what is refused, how much memory.

python experiments/speed/service_load.py --detector=part.onnx --images=FOLDER [--requests=10000] [--clients=4]

The service runs in a process of its own. First the clients send one image after the other, each as soon as it has its
answer; every answer is compared with the first one for the same image. Then more clients than the service takes send
at once: each request must be answered, with a decision or with 503.
"""

import http.client
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags

from gnl_jax import console
from gnl_jax.data.listing import list_images
from gnl_jax.progress import progress_bar

DETECTOR = flags.DEFINE_string("detector", None, "A .gnl file, or an .onnx file with its manifest.")
IMAGES = flags.DEFINE_string("images", None, "Folder of images; the first 20 are sent in turn.")
REQUESTS = flags.DEFINE_integer("requests", 10_000, "In all.", lower_bound=100)
CLIENTS = flags.DEFINE_integer("clients", 4, "That send at the same time.", lower_bound=1)
OVERLOAD = flags.DEFINE_integer("overload", 40, "Clients of the second part.", lower_bound=1)
SERVICE = Path(__file__).parents[2] / "examples" / "service.py"
SAMPLES = 10  # of the memory


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def start(detector: str) -> tuple[subprocess.Popen, int]:
    """The service and its port, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, SERVICE, detector, "--port", str(port)], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            ask(port, "GET", "/health")
            return process, port
        except OSError:
            time.sleep(0.1)
    raise ChildProcessError(f"the service ended with exit status {process.returncode}")


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Steady(NamedTuple):
    """Seconds of each request, MiB of the service after each tenth of them, and how many answers were other ones."""

    seconds: list[float]
    memory: list[float]
    wrong: int


def steady(port: int, pid: int, images: list[bytes], *, requests: int, clients: int) -> Steady:
    """Clients that each send the next image as soon as they have their answer."""
    expected = [ask(port, "POST", "/inspect", image) for image in images]
    if any(status != 200 for status, _ in expected):
        raise ValueError(f"images: got {expected}, expected ones that the detector decides on")
    seconds, memory, counter, lock = [], [], itertools.count(), threading.Lock()
    with progress_bar("requests", requests) as advance:

        def client() -> int:
            wrong = 0
            while (i := next(counter)) < requests:
                begun = time.perf_counter()
                answer = ask(port, "POST", "/inspect", images[i % len(images)])
                spent = time.perf_counter() - begun
                wrong += answer != expected[i % len(images)]
                with lock:
                    seconds.append(spent)
                    if len(seconds) % (requests // SAMPLES) == 0:
                        memory.append(resident(pid))
                    advance(1, "")
            return wrong

        with ThreadPoolExecutor(clients) as pool:
            wrong = sum(future.result() for future in [pool.submit(client) for _ in range(clients)])
    return Steady(seconds, memory, wrong)


def overload(port: int, images: list[bytes], *, clients: int) -> Counter:
    """How many of ten requests for each image, by more clients than the service takes, had which status."""
    with ThreadPoolExecutor(clients) as pool:
        sent = [pool.submit(ask, port, "POST", "/inspect", image) for image in images * 10]
        return Counter(future.result()[0] for future in sent)


def run():
    names = itertools.islice(list_images(IMAGES.value), 20)
    images = [Path(IMAGES.value, name).read_bytes() for name in names]
    process, port = start(DETECTOR.value)
    try:
        begun = time.perf_counter()
        found = steady(port, process.pid, images, requests=REQUESTS.value, clients=CLIENTS.value)
        rate = REQUESTS.value / (time.perf_counter() - begun)
        p50, p99 = 1000 * np.quantile(found.seconds, (0.5, 0.99))
        print(
            f"{REQUESTS.value} requests of {CLIENTS.value} clients: median {p50:.1f} ms, 99th percentile {p99:.1f} ms"
        )
        print(f"{rate:.1f} images/s; {found.wrong} answers differ from the first one for the same image")
        print("memory in MiB, after each tenth: " + ", ".join(f"{m:.0f}" for m in found.memory))
        statuses = overload(port, images, clients=OVERLOAD.value)
        counted = ", ".join(f"{n} x {status}" for status, n in sorted(statuses.items()))
        print(f"{OVERLOAD.value} clients at once, {statuses.total()} requests: {counted}")
        print(f"then one alone: {ask(port, 'POST', '/inspect', images[0])[0]}")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    flags.mark_flags_as_required(["detector", "images"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
