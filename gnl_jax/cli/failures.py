"""What JAX cannot do on this computer, in one sentence that says what to do."""

import os
from collections.abc import Callable

OUT_OF_MEMORY = (
    "not enough memory: fitting takes less with --memory GB (what it may take), a smaller --batch-size or a smaller "
    "--size; scoring takes a computer or an accelerator with more of it; what was saved stands"
)


def in_one_sentence(command: Callable[[], int]) -> int:
    """Runs it; what JAX cannot do here becomes an error that says what to do."""
    try:
        return command()
    except MemoryError as error:
        raise ValueError(OUT_OF_MEMORY) from error
    except (RuntimeError, AssertionError) as error:  # JAX raises either for a device that is not there
        if "RESOURCE_EXHAUSTED" in str(error):
            raise ValueError(OUT_OF_MEMORY) from error
        if (asked := os.environ.get("JAX_PLATFORMS")) and not _has_device():
            raise ValueError(
                f"JAX_PLATFORMS={asked}: this computer or this installation of JAX has no such device, expected cpu, "
                "or nothing for what there is"
            ) from error
        raise


def _has_device() -> bool:
    import jax

    try:
        return bool(jax.devices())
    except (RuntimeError, AssertionError):
        return False
