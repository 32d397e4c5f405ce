"""This package's methods as programs for `peers.py`, through its public functions."""

from typing import Any

import gnl_jax
from experiments.speed.peers_program import Job, Score, System, main
from gnl_jax.config import METHODS, set_method
from gnl_jax.detection.options import inspection_config
from gnl_jax.machine import keep_threads_apart


def our_config(job: Job) -> Any:
    """The configuration of `gnl-jax fit` with the job's method, teacher, image size and seed."""
    config = set_method(inspection_config(), job["method"], like="mvtec")
    config.teacher.arch, config.teacher.weights = job["arch"], job["teacher"]
    config.dataset.size, config.seed = job["size"], job["seed"]
    config.dataset.cache = ""  # reading the images is a part of fitting, each time
    return config


def fit(job: Job) -> None:
    """Fits on the folder itself; ValueError if other images than the job's were fitted or calibrated with."""
    options = gnl_jax.FitOptions(calibration=job["calibration_parts"], group_by=job["group_by"], epochs=job["epochs"])
    detector = gnl_jax.fit(job["good"], our_config(job), options=options)
    data = detector.require_record().manifest["data"]
    for use in ("fit", "calibration"):
        if list(data[use]) != job["hashes"][use]:
            raise ValueError(f"{job['method']}: other images served for {use} than those the peers are given")
    gnl_jax.save(detector, job["model"])


def load(job: Job) -> Score:
    detector = gnl_jax.load(job["model"])
    keep_threads_apart()  # as `gnl-jax score` does
    return lambda images: gnl_jax.predict(detector, images).score


if __name__ == "__main__":
    main(dict.fromkeys(METHODS, System(fit, load)))
