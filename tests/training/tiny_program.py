"""Trains the tiny method as experiments/train.py trains a real one.

tiny_program.py WORKDIR IMAGES FAULTS TRAIN [BYTES]

FAULTS and TRAIN are JSON objects; BYTES limits the size of a file, which is how a disk is full here. With the
environment variable JOIN it is one of several processes.
"""

import json
import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import tiny_method

from gnl_jax import console
from gnl_jax.training import loop, parallel

workdir, images, faults, train, *limit = sys.argv[1:]
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]), resource.RLIM_INFINITY))
if "JOIN" in os.environ:
    parallel.join(os.environ["JOIN"])
config, task = tiny_method.make_config(**json.loads(train)), tiny_method.make_task(int(images))
method = tiny_method.make_method(config, **json.loads(faults))
console.run(lambda: print(loop.train(config, workdir, task=task, method=method).steps))
