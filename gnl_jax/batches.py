"""How many images make a batch and how many batches an epoch: what data feeds and what methods count on."""


def steps_per_epoch(n: int, *, batch_size: int, min_valid: int) -> int:
    """Batches of an epoch of n images, as fed: the last one smaller, or left out with fewer than `min_valid`."""
    whole, rest = divmod(n, batch_size)
    return whole + (rest > 0 and rest >= min_valid)


def images_of_a_pass(size: int, *, at_most: int) -> int:
    """How many images of side `size` go through a network at once where nothing is trained.

    As many pixels as `at_most` images of 256x256 have, so that memory does not grow with the size; at least one.

    >>> [images_of_a_pass(size, at_most=8) for size in (64, 256, 512, 1024)]
    [8, 8, 2, 1]
    """
    return max(1, min(at_most, at_most * 256**2 // size**2))
