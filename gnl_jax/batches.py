"""How many batches an epoch has: what data feeds and what methods count on."""


def steps_per_epoch(n: int, *, batch_size: int, min_valid: int) -> int:
    """Batches of an epoch of n images, as fed: the last one smaller, or left out with fewer than `min_valid`."""
    whole, rest = divmod(n, batch_size)
    return whole + (rest > 0 and rest >= min_valid)
