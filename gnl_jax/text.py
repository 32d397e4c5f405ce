"""Texts from elsewhere, such as file names, made harmless to show."""


def printable(text: str, *, keep: str = "") -> str:
    r"""The text with escapes (`\x1b`, `\udcff`) for what could steer a terminal, hide or turn text, or is not UTF-8.

    keep: characters that stay as they are, such as line ends.
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)
