"""Which images show the same part: by their names, or by a table."""

import os
import re
from collections.abc import Mapping, Sequence

from gnl_jax.data.tables import read_table


def part_names(names: Sequence[str], group_by: str, *, root: str = "") -> tuple[str, ...]:
    """The part that each image shows; equal for images of the same part.

    Args:
        names: of the images, relative to `root`.
        group_by: a regular expression, searched in each name: the match (its first group, if it has one) is the part.
            Or a file that ends with .csv: its first column names images, as ends of their paths, its second the parts;
            separated by commas, semicolons or tabs, folders by either slash.
            "": every image shows a part of its own.
        root: folder of the images.

    Raises:
        ValueError: a name that the expression does not match or the table does not have; it is named.
    """
    if not group_by:
        return tuple(names)
    return _by_table(names, group_by, root) if group_by.endswith(".csv") else _by_expression(names, group_by)


def file_parts(paths: Sequence[str], group_by: str, *, below: Mapping[str, str]) -> tuple[str, ...]:
    """`part_names` of files from any folders: `below` has the names in which an expression is searched.

    Without `group_by` the paths tell parts apart, and a table finds them: a name below one folder may be in another.
    """
    if not group_by or group_by.endswith(".csv"):
        return part_names(paths, group_by)
    return part_names([below[path] for path in paths], group_by)


def _by_expression(names: Sequence[str], group_by: str) -> tuple[str, ...]:
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ValueError(f"group_by: {group_by!r} is no regular expression ({error})") from error
    parts = []
    for name in names:
        if (match := pattern.search(name)) is None:
            raise ValueError(f"group_by: {group_by!r} does not match {name!r}, expected a match in every name")
        part = match.group(1) if pattern.groups else match.group(0)
        if part is None:
            raise ValueError(f"group_by: the group of {group_by!r} matches nothing in {name!r}, expected a part's name")
        parts.append(part)
    return tuple(parts)


def _by_table(names: Sequence[str], path: str, root: str) -> tuple[str, ...]:
    try:
        rows = read_table(path)
    except ValueError as error:
        raise ValueError(f"group_by: {error}") from error
    if any(len(row) < 2 for row in rows):
        raise ValueError(f"group_by: {path!r} has a line without two columns, expected file,part or file;part")
    entries: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for file, part, *_ in rows:
        for written in {file, file.replace("\\", "/")}:  # of Windows; elsewhere a backslash may be part of a name
            steps = tuple(step for step in written.split("/") if step != ".")
            entries.setdefault(steps[-1] if steps else "", []).append((steps, part))
    return tuple(_part(os.path.join(os.path.abspath(root), name), entries, path) for name in names)


def _part(image: str, entries: dict[str, list[tuple[tuple[str, ...], str]]], path: str) -> str:
    """The part of the entry with the longest path that the image's own path ends with."""
    steps = tuple(image.replace("\\", "/").split("/"))
    fits = [(len(entry), part) for entry, part in entries.get(steps[-1], ()) if steps[-len(entry) :] == entry]
    if not fits:
        raise ValueError(f"group_by: {path!r} has no line for {image!r}")
    longest = max(length for length, _ in fits)
    parts = {part for length, part in fits if length == longest}
    if len(parts) > 1:
        raise ValueError(f"group_by: {path!r} has lines with different parts for {image!r}: {', '.join(sorted(parts))}")
    return parts.pop()
