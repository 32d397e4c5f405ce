"""`python -m gnl_jax` is `gnl-jax`."""

import sys

from gnl_jax.cli.main import script

if __name__ == "__main__":
    sys.exit(script())
