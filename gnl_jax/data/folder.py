"""Tasks from image folders: a user's own, MVTec AD and PACS."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from gnl_jax import __version__
from gnl_jax.data.layouts import (
    GOOD,
    ImageFiles,
    Layout,
    find_layout,
    mvtec_layout,
    mvtec_test,
    pacs_domain,
    pacs_domains,
    pacs_layout,
    shifted_files,
)
from gnl_jax.data.listing import list_images
from gnl_jax.data.masks import load_masks
from gnl_jax.data.pixels import Alpha, range_warning
from gnl_jax.data.protocol import LabelledImages, Task, check_shifts, limited
from gnl_jax.data.reading import Loaded, Transform, load_images
from gnl_jax.images.corruptions import CORRUPTIONS, SEVERITIES, corrupt, corruption_rng


@dataclasses.dataclass(frozen=True)
class FolderOptions:
    """How images of a folder are read, and how its test set is shifted.

    Fields:
        size: side of the images in pixels.
        shifts: of the test set: members of `CORRUPTIONS`; for PACS its other domains too.
        severity: of the corruptions, 1 to 5.
        shifted: the user's own shifted test sets, each "name=folder" (`shifted_files`).
        corrupt_at: "native" corrupts an image at its own size, as published, "resized" after the resize.
        white, alpha: as for `read_image`.
        skip_unreadable, cache_dir: as for `load_images`.
        seed: of noise and of the random subsets.
        limit_train, limit_test: sizes of random subsets; 0 for all.

    Raises:
        ValueError: a field without a meaning; it is named.
    """

    size: int = 256
    shifts: Sequence[str] = ()
    severity: int = 3
    shifted: Sequence[str] = ()
    corrupt_at: str = "native"
    white: float | None = None
    alpha: Alpha = "error"
    skip_unreadable: bool = False
    cache_dir: str | None = None
    seed: int = 0
    limit_train: int = 0
    limit_test: int = 0

    def __post_init__(self):
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity: got {self.severity!r}, expected one of {list(SEVERITIES)}")
        if self.corrupt_at not in ("native", "resized"):
            raise ValueError(f"corrupt_at: got {self.corrupt_at!r}, expected 'native' or 'resized'")


def folder_task(root: str, *, normal: str = "", bad: str = "", options: FolderOptions = FolderOptions()) -> Task:
    """A user's own folder, in one of the layouts of `find_layout`.

    Args:
        root: the folder.
        normal: the normal class, where there is a folder for each class; "" for `good`.
        bad: a folder of anomalous images, where `root` holds normal ones only.
        options: how to read it, and the shifts.

    Raises:
        ValueError: a folder or option without a meaning, a file that cannot be used; it is named.
    """
    check_shifts(options.shifts, CORRUPTIONS, dataset="folder")
    shifted = {name: shifted_files(path) for name, path in _named_folders(options).items()}
    return _task("folder", normal or GOOD, find_layout(root, normal=normal, bad=bad), shifted, options)


def mvtec_task(root: str, category: str, *, options: FolderOptions = FolderOptions()) -> Task:
    """One category of MVTec AD, at `root/category`; a folder of `options.shifted` may have categories too.

    Raises:
        ValueError: a folder or option without a meaning, a file that cannot be used; it is named.
    """
    check_shifts(options.shifts, CORRUPTIONS, dataset="mvtec")
    folder = os.path.join(root, category)
    shifted = {}
    for name, path in _named_folders(options).items():
        inside = os.path.join(path, category)
        path = inside if os.path.isdir(inside) else path
        shifted[name] = mvtec_test(path, list_images(path))
    return _task("mvtec", category, mvtec_layout(folder, list_images(folder)), shifted, options)


def pacs_task(
    root: str,
    normal: str,
    *,
    domain: str = "photo",
    ood: str = "all",
    options: FolderOptions = FolderOptions(shifts=("art_painting", "cartoon", "sketch")),
) -> Task:
    """One class of PACS, learned from one domain and tested on it and on others.

    Args:
        root: folder of the domains.
        normal: the normal class.
        domain: to learn from.
        ood: "all" the images of the other domains, or every "tenth" of each class.
        options: how to read it, and the shifts: other domains and corruptions.

    Raises:
        ValueError: a folder or option without a meaning, a file that cannot be used; it is named.
    """
    paths = list_images(root)
    others = [name for name in pacs_domains(paths) if name != domain]
    check_shifts(options.shifts, [*others, *CORRUPTIONS], dataset="pacs")
    shifted = {name: pacs_domain(root, paths, normal, name, keep=ood) for name in options.shifts if name in others}
    shifted |= {name: shifted_files(path) for name, path in _named_folders(options).items()}
    return _task("pacs", normal, pacs_layout(root, paths, normal, domain=domain), shifted, options)


def corruption(name: str, *, severity: int, seed: int) -> Transform:
    """A corruption as a transform; an image's noise depends on the seed and on its name alone."""
    return Transform(
        apply=lambda image, image_name: corrupt(corruption_rng(seed, image_name), image, name, severity),
        identity=repr((name, severity, seed, __version__, np.__version__)),
    )


def load_test(files: ImageFiles, options: FolderOptions, *, shift: str = "", what: str = "") -> LabelledImages:
    """Loads a test set, corrupted by `shift` unless that is ""."""
    transform = corruption(shift, severity=options.severity, seed=options.seed) if shift else None
    files = _subset(files, options.limit_test, seed=options.seed)
    native = options.corrupt_at == "native"
    images, kept, _ = _load(files, options, transform=transform if native else None, what=what)
    if transform and not native:
        images = np.stack([transform.apply(image, files.names[i]) for image, i in zip(images, kept)])
    masks = None
    if files.masks is not None:
        masks = load_masks([files.masks[i] for i in kept], options.size, what=f"{what} masks")
    return LabelledImages(
        images=images,
        anomalous=np.array([files.defects[i] != "" for i in kept], np.bool_),
        masks=masks,
        names=tuple(files.names[i] for i in kept),
    )


def _task(dataset: str, normal: str, layout: Layout, shifted: Mapping[str, ImageFiles], options: FolderOptions) -> Task:
    train_files = _subset(layout.train, options.limit_train, seed=options.seed)
    train, kept, _ = _load(train_files, options, what=f"{dataset} {normal} train")
    if len(train) and (warning := range_warning(int(train.max()), name=f"{dataset} {normal}")):
        logging.warning(warning)

    def loader(files: ImageFiles, name: str, shift: str = "") -> Callable[[], LabelledImages]:
        return functools.partial(load_test, files, options, shift=shift, what=f"{dataset} {normal} {name}")

    tests = {"id": loader(layout.test, "id")}
    for name in [*options.shifts, *shifted]:
        tests[name] = loader(shifted[name], name) if name in shifted else loader(layout.test, name, name)
    return Task(
        dataset=dataset,
        normal=normal,
        train=train,
        tests=tests,
        train_names=tuple(train_files.names[i] for i in kept),
    )


def _load(files: ImageFiles, options: FolderOptions, *, transform: Transform | None = None, what: str) -> Loaded:
    fields = ("white", "alpha", "skip_unreadable", "cache_dir")
    return load_images(
        files.paths,
        options.size,
        names=files.names,
        transform=transform,
        what=what,
        **{field: getattr(options, field) for field in fields},
    )


def _subset(files: ImageFiles, limit: int, *, seed: int) -> ImageFiles:
    kept = limited(np.array([defect != "" for defect in files.defects], np.bool_), limit, seed=seed)
    return ImageFiles(*(None if field is None else tuple(field[i] for i in kept) for field in files))


def _named_folders(options: FolderOptions) -> dict[str, str]:
    """The entries "name=folder" of `options.shifted`."""
    folders: dict[str, str] = {}
    for entry in options.shifted:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise ValueError(f"shifted: got {entry!r}, expected 'name=folder'")
        if name in ("id", *options.shifts, *folders):
            raise ValueError(f"shifted: the name {name!r} is taken")
        folders[name] = path
    return folders
