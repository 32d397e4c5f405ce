"""Texts from elsewhere, such as file names, made harmless to show and to copy."""

import os
import shlex


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with escapes (`\x1b`, `\udcff`) for what could steer a terminal, hide or turn text, or is not UTF-8.

    keep: characters that stay as they are, such as line ends.
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def shell_word(text: str) -> str:
    r"""The text as one word of a shell's command: plain or quoted, with escapes, `$'\x1b.png'`, where it needs them.

    Words with escapes are those of bash, zsh and ksh.
    """
    if text.isprintable():
        return shlex.quote(text)
    plain = set(range(32, 127)) - {ord("'"), ord("\\")}
    return "$'" + "".join(chr(n) if n in plain else f"\\x{n:02x}" for n in os.fsencode(text)) + "'"
