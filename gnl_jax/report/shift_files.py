"""What a shift report shows to a detector: good and defective parts as they are, changed, and photographed anew."""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gnl_jax.data.good import check_good_folder, defect_images
from gnl_jax.data.layouts import shifted_files
from gnl_jax.data.listing import list_images
from gnl_jax.detection.grouping import file_parts, part_names


class ShiftOptions(NamedTuple):
    """Simulated families and severities; good and defective parts for each; seed of noise and of the choice.

    matchings: whether the detector's other matchings are counted too.
    """

    families: tuple[str, ...]
    severities: tuple[int, ...]
    limit: int
    limit_bad: int
    seed: int = 0
    matchings: bool = False


class Files(NamedTuple):
    """Image files with their names, the kind of defect of each, "" for a good part, and the part that it shows."""

    paths: tuple[str, ...]
    names: tuple[str, ...]
    defects: tuple[str, ...]
    parts: tuple[str, ...]

    def take(self, indices: Sequence[int]) -> "Files":
        """The files at these positions, in this order."""
        return Files(*(tuple(field[i] for i in indices) for field in self))

    def without(self, paths: Collection[str]) -> "Files":
        """All but the files with these paths."""
        return self.take([i for i, path in enumerate(self.paths) if path not in paths])


class Condition(NamedTuple):
    """What is shown to the detector: files as they are, or changed by a family at a severity."""

    name: str
    kind: str  # "clean", "simulated" or "own"
    files: Files
    family: str | None = None
    severity: int | None = None


def good_files(folder: str | os.PathLike, *, group_by: str = "") -> Files:
    """All images below a folder, as good parts."""
    names = list_images(folder)
    check_good_folder(folder, names, part="test")
    return _files(folder, names, (), group_by)


def defect_files(folder: str | os.PathLike, *, group_by: str = "") -> Files:
    """The first subfolder is the kind of defect (`defect_images`); images beside the subfolders are "defect"."""
    names = defect_images(folder)
    return _files(folder, names, tuple(name.split("/")[0] if "/" in name else "defect" for name in names), group_by)


def marked_files(paths: Sequence[str], defect: str, *, below: Mapping[str, str], group_by: str = "") -> Files:
    """Image files that a person has marked, named by their paths.

    defect: "" for good ones; below: of each path the name to group by (`Marks.below`).
    """
    return Files(tuple(paths), tuple(paths), (defect,) * len(paths), file_parts(paths, group_by, below=below))


def own_files(folder: str | os.PathLike, *, group_by: str = "") -> Files:
    """Parts under a real change: as `shifted_files`, or good images without any subfolder."""
    names = list_images(folder)
    if not any("/" in name for name in names):
        return good_files(folder, group_by=group_by)
    found = shifted_files(os.fspath(folder))
    if all(found.defects):
        raise ValueError(f"{os.fspath(folder)!r}: no good parts there, expected some in good/")
    paths = tuple(os.fspath(path) for path in found.paths)
    return Files(paths, found.names, found.defects, part_names(found.names, group_by, root=os.fspath(folder)))


def _files(folder: str | os.PathLike, names: tuple[str, ...], defects: tuple[str, ...], group_by: str) -> Files:
    paths = tuple(os.path.join(folder, name) for name in names)
    return Files(paths, names, defects or ("",) * len(names), part_names(names, group_by, root=os.fspath(folder)))


def make_conditions(
    normal: Files, defective: Files, shifted: Mapping[str, Files], options: ShiftOptions
) -> list[Condition]:
    """The parts as they are, then the user's own changes, then every family at every severity."""

    def joined(one: Files, other: Files) -> Files:
        return Files(*(a + b for a, b in zip(one, other)))

    few = joined(_some(normal, options.limit, options.seed), _some(defective, options.limit_bad, options.seed))
    conditions = [Condition("clean", "clean", joined(normal, defective))]
    conditions += [Condition(name, "own", files) for name, files in shifted.items()]
    for family in options.families:
        conditions += [Condition(f"{family} {s}", "simulated", few, family, s) for s in options.severities]
    return conditions


def _some(files: Files, limit: int, seed: int) -> Files:
    """All images of at most `limit` parts, drawn from the seed, as evenly over the kinds of defect as they allow."""
    rng = np.random.default_rng([seed, 3])
    kinds: dict[tuple[str, str], None] = dict.fromkeys(zip(files.defects, files.parts))
    parts = [list(kinds)[i] for i in rng.permutation(len(kinds))]
    turns: dict[str, int] = {}
    ranked = []
    for place, (defect, part) in enumerate(parts):
        turns[defect] = turns.get(defect, 0) + 1
        ranked.append((turns[defect], place, (defect, part)))
    chosen = {pair for *_, pair in sorted(ranked)[:limit]}
    return files.take([i for i, pair in enumerate(zip(files.defects, files.parts)) if pair in chosen])
