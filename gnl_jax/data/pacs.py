"""The layout of PACS: <domain>/<class>/."""

import os
from collections.abc import Iterable, Sequence

from gnl_jax.data.files import ImageFiles, Layout, every_tenth, files_of, normal_files, top_folders


def pacs_layout(root: str, paths: Sequence[str], normal: str, *, domain: str = "photo") -> Layout:
    """One domain of PACS, `<domain>/<class>/`: every tenth image of each class is test, the rest train.

    The released protocol is unknown; this is ours, on images sorted by name within their class.

    Raises:
        ValueError: no such domain or class; those there are listed.
    """
    classes = _classes(root, paths, domain)
    _check_class(normal, classes, where=os.path.join(root, domain))
    tenths = {name: every_tenth(paths) for name, paths in classes.items()}
    test = [path for held_out, _ in tenths.values() for path in held_out]
    return Layout(normal_files(root, tenths[normal][1]), _one_vs_all(root, test, normal))


def pacs_domain(root: str, paths: Sequence[str], normal: str, domain: str, *, keep: str = "all") -> ImageFiles:
    """A shifted domain of PACS, which is never trained on: "all" its images, or every "tenth" of each class."""
    if keep not in ("all", "tenth"):
        raise ValueError(f"ood: got {keep!r}, expected 'all' or 'tenth'")
    classes = _classes(root, paths, domain)
    _check_class(normal, classes, where=os.path.join(root, domain))
    kept = [paths if keep == "all" else every_tenth(paths)[0] for paths in classes.values()]
    return _one_vs_all(root, [path for paths in kept for path in paths], normal)


def pacs_domains(paths: Sequence[str]) -> list[str]:
    """The names of the domains, sorted."""
    return top_folders(path for path in paths if path.count("/") > 1)


def _classes(root: str, paths: Sequence[str], domain: str) -> dict[str, list[str]]:
    if domain not in pacs_domains(paths):
        raise ValueError(f"{root!r}: no domain {domain!r}, found {pacs_domains(paths)}")
    mine = [path for path in paths if path.startswith(f"{domain}/") and path.count("/") > 1]
    classes = sorted({path.split("/")[1] for path in mine})
    return {name: [path for path in mine if path.split("/")[1] == name] for name in classes}


def _one_vs_all(root: str, paths: Sequence[str], normal: str) -> ImageFiles:
    classes = [path.split("/")[1] for path in paths]
    return files_of(root, paths, ["" if name == normal else name for name in classes], None)


def _check_class(normal: str, classes: Iterable[str], *, where: str) -> None:
    if normal not in classes:
        raise ValueError(f"normal: no class {normal!r} in {where!r}, expected one of {sorted(classes)}")
