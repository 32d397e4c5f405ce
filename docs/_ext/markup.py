"""Docstrings as they are written, for Sphinx: `code` in single backquotes, [*b h w c] and |x| as text."""

import re
from collections import _tuplegetter

CODE = re.compile(r"(``.+?``|`[^`]+`)")
SPECIAL = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")
DOCTEST = re.compile(r"\s*(>>>|\.\.\.) ")


def escaped(text: str) -> str:
    """Text in which nothing is markup."""
    return SPECIAL.sub(r"\\\g<0>", text)


def as_restructured(line: str) -> str:
    """One line of a docstring as reStructuredText."""
    if DOCTEST.match(line):
        return line
    parts = CODE.split(line)
    # A literal must end where a word ends: `name`s and `a`-th are told apart by an escaped space.
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = escaped(part)
            continue
        before = "\\ " if re.search(r"\w$", parts[i - 1]) else ""
        after = "\\ " if re.match(r"\w", parts[i + 1]) else ""
        parts[i] = f"{before}``{part.strip('`')}``{after}"
    return "".join(parts)


def process(app, what, name, obj, options, lines) -> None:
    """Before napoleon reads the sections."""
    lines[:] = [as_restructured(line) for line in lines]


def skip(app, what, name, obj, skip, options) -> bool | None:
    """A field of a NamedTuple is described where the class is, not once more as "alias for field number 0"."""
    return True if isinstance(obj, _tuplegetter) else None


def setup(app) -> dict:
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True}
