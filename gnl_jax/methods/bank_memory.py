"""What a memory bank takes of the host's memory, estimated before it is built."""

from collections.abc import Sequence
from typing import NamedTuple

from gnl_jax.methods.free_memory import host_free

_FLOAT = 4  # bytes of a float32


class BankNeed(NamedTuple):
    """What one bank holds while it is built.

    Attributes:
        rows: of the finished bank.
        candidates: patches that the rows are chosen from.
        patches: of one image.
        channels: of a patch.
    """

    rows: int
    candidates: int
    patches: int
    channels: int

    def bytes(self, *, chunk: int) -> int:
        """Rows, candidates and the patches of `chunk` images, as float32."""
        return _FLOAT * self.channels * (self.rows + self.candidates + chunk * self.patches)


def check_memory(needs: Sequence[BankNeed], *, chunk: int) -> None:
    """ValueError where banks need more memory than is available; it says how many rows and candidates would fit.

    Args:
        needs: of each bank of one matching; they are built side by side.
        chunk: images whose patches are held at once.
    """
    available, needed = host_free(), sum(need.bytes(chunk=chunk) for need in needs)
    if available is None or needed <= available:
        return
    channels = _FLOAT * sum(need.channels for need in needs)
    held = _FLOAT * sum(need.channels * chunk * need.patches for need in needs)
    fits = max(0, (available - held) // channels)
    rows, candidates = max(need.rows for need in needs), max(need.candidates for need in needs)
    raise ValueError(
        f"method.memory_bank.rows: got {rows} rows of {candidates} candidate patches, which take {_gib(needed)}; "
        f"{_gib(available)} are available, expected at most {fits} rows and candidates together for each bank "
        "(method.memory_bank.rows and method.memory_bank.candidates)"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
