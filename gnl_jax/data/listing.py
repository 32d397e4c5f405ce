"""The image files below a folder, in a fixed order, with a count of everything else."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from absl import logging

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"})

HIDDEN = "hidden or system"


class Listing(NamedTuple):
    """What is below a folder.

    Attributes:
        paths: image files relative to the folder, "/" between names, sorted by bytes. Names that are not UTF-8
            hold surrogates, as everywhere in Python, and open as they are.
        skipped: kind of entry to how many of it were left out; a hidden folder counts as one.
    """

    paths: tuple[str, ...]
    skipped: Mapping[str, int]


def list_images(root: str | os.PathLike) -> tuple[str, ...]:
    """The image files below a folder (`scan`); logs what else is there.

    Raises:
        ValueError: a folder that is missing, cannot be read or has no image; it is named.
    """
    paths, skipped = scan(root)
    counts = ", ".join(f"{count} {kind}" for kind, count in skipped.items())
    if not paths:
        raise ValueError(
            f"no images in {os.fsdecode(root)!r}, expected names ending in {' '.join(sorted(SUFFIXES))}"
            + (f"; found: {counts}" if counts else "")
        )
    if counts:
        level = logging.INFO if set(skipped) == {HIDDEN} else logging.WARNING
        logging.log(level, "%s: %d images; skipped: %s", os.fsdecode(root), len(paths), counts)
    return paths


def scan(root: str | os.PathLike) -> Listing:
    """Finds regular files with an image's suffix, in all subfolders.

    Links to files are files. Links to folders are followed after all else, and every folder is entered once, so
    that a loop ends and a folder is listed under its own name if it is below `root`.

    Args:
        root: a folder.

    Raises:
        ValueError: a folder that is missing or cannot be read; it is named.
    """
    skipped: Counter[str] = Counter()
    paths: list[str] = []
    entered: set[tuple[int, int]] = set()
    folders = [""]
    while folders:
        links: list[str] = []
        for folder in folders:
            paths += _walk(os.fsdecode(root), folder, entered, links, skipped)
        folders = links
    return Listing(tuple(sorted(paths, key=os.fsencode)), dict(sorted(skipped.items())))


def _walk(
    root: str, folder: str, entered: set[tuple[int, int]], links: list[str], skipped: Counter[str]
) -> Iterator[str]:
    """The images in and below `folder`, relative to `root`; links to folders go to `links`."""
    path = os.path.join(root, folder)
    try:
        status = os.stat(path)
        entries = sorted(os.scandir(path), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise ValueError(f"cannot list the folder {path!r}: {error.strerror or error}") from error
    if (status.st_dev, status.st_ino) in entered:
        skipped["link to a folder listed already"] += 1
        return
    entered.add((status.st_dev, status.st_ino))
    for entry in entries:
        name = f"{folder}/{entry.name}" if folder else entry.name
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_NAMES:
            skipped[HIDDEN] += 1
        elif _leads_nowhere(entry):
            skipped["broken link"] += 1
        elif entry.is_dir() and entry.is_symlink():
            links.append(name)
        elif entry.is_dir():
            yield from _walk(root, name, entered, links, skipped)
        elif not entry.is_file():
            skipped["not a regular file"] += 1
        elif (suffix := os.path.splitext(entry.name)[1].lower()) not in SUFFIXES:
            skipped[f"{suffix!r} file" if suffix else "file without a suffix"] += 1
        else:
            yield name


def _leads_nowhere(entry: os.DirEntry) -> bool:
    """Whether this is a link to nothing, to itself, or to what may not be seen."""
    if not entry.is_symlink():
        return False
    try:
        entry.stat()
    except OSError:
        return True
    return False
