"""Nested dicts of arrays and flat ones, "banks/0/rows" for {"banks": {"0": {"rows": ...}}}."""

from collections.abc import Mapping
from typing import Any

SEPARATOR = "/"


def flatten(tree: Mapping[str, Any], *, above: str = "") -> dict[str, Any]:
    """The leaves by their path; an empty dict leaves nothing."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, above=f"{above}{name}{SEPARATOR}")
        else:
            flat[above + name] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dicts of `flatten`. Raises TypeError where a path goes on below a leaf."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *folders, last = path.split(SEPARATOR)
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return tree
