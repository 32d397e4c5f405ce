"""Scores of a memory bank on one, two and four virtual devices: sharding_program.py OUT.npz."""

import sys

import jax
import numpy as np
from small_banks import EVERYTHING, MATCHED, defective, make, pictures

from gnl_jax.detection.detector import make_detector, predict
from gnl_jax.methods.bank_options import BankOptions

GOOD, TEST = pictures(4), pictures(4, seed=1)
TEST[3] = defective(TEST[3])


def run(out: str) -> None:
    arrays = {}
    for how, rows in (("map", 61), ("patches", 7), ("patches", EVERYTHING)):  # what 2 and 4 do not divide; 64
        method = make(BankOptions(rows=rows, score=how, neighbours=5), MATCHED)
        for devices in (1, 2, 4):
            detector = make_detector(method, None, GOOD, size=32, batch_size=2, devices=devices)
            bank = detector.variables["banks"]["0"]
            shares = {shard.data.shape[0] for shard in bank["rows"].addressable_shards}
            assert len(bank["rows"].sharding.device_set) == devices
            assert shares == {-(-min(rows, 64) // devices)}, shares
            found = predict(detector, TEST)
            new = jax.jit(method.score_without)(detector.variables, GOOD, np.arange(4, dtype=np.int32))
            arrays |= {f"{how}{rows:g}/{devices}/{name}": np.asarray(value) for name, value in (
                ("score", found.score), ("map", found.map), ("drift", found.drift), ("new", new.score)
            )}  # fmt: skip
    np.savez(out, **arrays)


if __name__ == "__main__":
    run(sys.argv[1])
