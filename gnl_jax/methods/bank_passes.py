"""A memory bank's good images on their way through the teacher, a few at a time."""

from collections.abc import Iterator

import numpy as np

from gnl_jax.batches import full_batches, images_of_a_pass
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.progress import progress_bar

CHUNK = 4  # images of 256x256 in a pass, of which `AT_ONCE` are under way


def pass_images(size: int, options: BankOptions) -> int:
    """How many images of a side go through the teacher at once."""
    return options.batch_size or images_of_a_pass(size, at_most=CHUNK)


def in_chunks(
    images, chosen: np.ndarray, options: BankOptions, what: str = "images"
) -> Iterator[tuple[np.ndarray, int]]:
    """Chosen images in batches that all have one shape, the last one filled up, and how many count.

    what: is done with them, for the progress.
    """
    b = pass_images(images[chosen[:1]].shape[1], options)
    with progress_bar(what, len(chosen)) as advance:
        for batch, count in full_batches(images, chosen, batch_size=b):
            yield batch, count
            advance(count)
