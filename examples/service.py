"""A small HTTP service that decides on images: POST one, get the decision.

    pip install "gnl-jax[serve]"
    python examples/service.py part.gnl --port 8000        # or part.onnx, with the extra onnx
    curl --data-binary @part.png http://127.0.0.1:8000/inspect

POST /inspect takes the bytes of an image file and answers with what `gnl-jax score --format jsonl` writes of it. An
image that cannot be used is answered with status 422 and the reason, never with a decision. GET /health names the
detector that is loaded. More than --at-once and --waiting images at a time are refused with 503, so that a line that is
too fast notices.

One process serves, and its threads share the detector. For several processes start several services: JAX does not
survive the fork of a pre-forking server.
"""

import argparse
import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import gnl_jax
from gnl_jax.deploy.onnx.runtime import load as load_onnx
from gnl_jax.detection.inspection import ERROR, Inspected
from gnl_jax.detection.rows import row
from gnl_jax.machine import keep_threads_apart

MOST_BYTES = 100 * 2**20
AT_ONCE, WAITING = 2, 8


class Inspector(Protocol):
    """What is served: `gnl_jax.Detector`, or a model that was exported to ONNX (`deploy.onnx.runtime.Model`)."""

    shape: tuple[int, int]  # (height, width) of the images that a call takes

    def __call__(self, images: np.ndarray) -> Any: ...

    def inspect(self, image: bytes) -> Inspected: ...


def open_file(path: str) -> Inspector:
    """A detector's file, or a model with its manifest beside it. Raises ValueError naming what is damaged."""
    if path.endswith(".onnx"):
        return load_onnx(path)
    detector = gnl_jax.load(path)
    keep_threads_apart()  # the first part after a rest is not late
    return detector


def make_app(
    detector: Inspector,
    *,
    name: str,
    sha256: str = "",
    at_once: int = AT_ONCE,
    waiting: int = WAITING,
    most_bytes: int = MOST_BYTES,
) -> Starlette:
    """The service of one detector.

    Args:
        detector: a calibrated one.
        name: of its file, for /health.
        sha256: hash of that file, for /health.
        at_once: images that are inspected at the same time, each in a thread.
        waiting: further images that may wait for it; more are answered with 503.
        most_bytes: a larger body is answered with 413.
    """
    if at_once < 1 or waiting < 0:
        raise ValueError(f"got at_once {at_once} and waiting {waiting}, expected at least 1 and 0")
    pool, inside = ThreadPoolExecutor(at_once, thread_name_prefix="inspect"), {"requests": 0}

    async def inspect(request: Request) -> Response:
        if inside["requests"] >= at_once + waiting:
            busy = {"error": f"{at_once + waiting} images are in work or waiting; try again"}
            return JSONResponse(busy, 503, {"Retry-After": "1"})
        inside["requests"] += 1
        try:
            data = await body(request, most_bytes)
            if data is None:
                return JSONResponse({"error": f"more than {most_bytes} bytes"}, 413)
            result = await asyncio.get_running_loop().run_in_executor(pool, detector.inspect, data)
        except ClientDisconnect:  # nobody is there to answer
            return Response(status_code=400)
        finally:
            inside["requests"] -= 1
        if result.decision == ERROR:
            return JSONResponse({"error": result.reason}, 422)
        return JSONResponse({key: value for key, value in row(result).items() if key != "file"})

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "detector": name, "sha256": sha256, "in_work": inside["requests"]})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        black = np.zeros((1, *detector.shape, 3), np.uint8)
        # Compiled before the first part comes.
        await asyncio.get_running_loop().run_in_executor(pool, detector, black)
        yield
        pool.shutdown()

    routes = [Route("/inspect", inspect, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lifespan)


async def body(request: Request, most: int) -> bytes | None:
    """The body, or None as soon as it is longer than `most` bytes."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            return None
    return bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", help="a .gnl file, or an .onnx file with its manifest")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all of this computer")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"images inspected at the same time ({AT_ONCE})")
    parser.add_argument("--waiting", type=int, default=WAITING, help=f"images that may wait ({WAITING})")
    args = parser.parse_args()
    sha256 = hashlib.sha256(Path(args.detector).read_bytes()).hexdigest()
    app = make_app(
        open_file(args.detector),
        name=Path(args.detector).name,
        sha256=sha256,
        at_once=args.at_once,
        waiting=args.waiting,
    )
    uvicorn.run(app, host=args.host, port=args.port, log_level="info")


if __name__ == "__main__":
    main()
