"""Tasks from image folders: a user's own, benchmarks of inspection by category, and PACS."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from gnl_jax.data.files import ImageFiles, Layout
from gnl_jax.data.layouts import SPLITS, find_layout, shifted_files, split_layout
from gnl_jax.data.listing import list_images
from gnl_jax.data.masks import load_masks
from gnl_jax.data.naming import GOOD
from gnl_jax.data.pacs import pacs_domain, pacs_domains, pacs_layout
from gnl_jax.data.pixels import Alpha, range_warning
from gnl_jax.data.prepared import opened, prepared_category, prepared_pacs
from gnl_jax.data.protocol import LabelledImages, Task, check_shifts, limited
from gnl_jax.data.reading import Loaded, Transform, load_images
from gnl_jax.data.sources import in_memory
from gnl_jax.data.visa import visa_layout
from gnl_jax.images.corruptions import FAMILIES, SEVERITIES, corrupt, corruption_rng, parse_shift
from gnl_jax.images.resize import Geometry
from gnl_jax.images.shifts import GEOMETRIC
from gnl_jax.version import __version__


@dataclasses.dataclass(frozen=True)
class FolderOptions:
    """How images of a folder are read, and how its test set is shifted.

    Attributes:
        size: side of the images in pixels, or their geometry.
        shifts: of the test set: members of `FAMILIES`, with a severity of their own where one follows, as in
            "contrast:5"; for PACS its other domains too. Masks move with their images.
        severity: of all other corruptions, 1 to 5.
        shifted: the user's own shifted test sets, each "name=folder" (`shifted_files`).
        corrupt_at: "native" corrupts an image at its own size, as published, "resized" after the resize.
        white, alpha: as for `read_image`.
        skip_unreadable, cache_dir: as for `load_images`.
        memory_mb: training images that take more MiB are read again whenever they are needed.
        seed: of noise and of the random subsets.
        limit_train, limit_test: sizes of random subsets; 0 for all.

    Raises:
        ValueError: a field without a meaning; it is named.
    """

    size: int | Geometry = 256
    shifts: Sequence[str] = ()
    severity: int = 3
    shifted: Sequence[str] = ()
    corrupt_at: str = "native"
    white: float | None = None
    alpha: Alpha = "error"
    skip_unreadable: bool = False
    cache_dir: str | None = None
    memory_mb: float = np.inf
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
    _check_shifts(options, dataset="folder")
    shifted = {name: shifted_files(path) for name, path in _named_folders(options).items()}
    dataset = f"folder/{os.path.basename(os.path.abspath(root))}"
    return _task(dataset, normal or GOOD, find_layout(root, normal=normal, bad=bad), shifted, options)


# The benchmarks with categories: how a category's folder is read, and the folder of the prepared data.
CATEGORIES: dict[str, tuple[Callable[[str, Sequence[str]], Layout], str]] = {
    "mvtec": (functools.partial(split_layout, split=SPLITS["MVTec AD"]), "mvtec_ad"),
    "mvtec_loco": (functools.partial(split_layout, split=SPLITS["MVTec LOCO"]), "mvtec_loco"),
    "mvtec_ad_2": (functools.partial(split_layout, split=SPLITS["MVTec AD 2"]), "mvtec_ad_2"),
    "btad": (functools.partial(split_layout, split=SPLITS["BTAD"]), "btad"),
    "visa": (visa_layout, "visa"),
}


def category_task(dataset: str, root: str, category: str, *, options: FolderOptions = FolderOptions()) -> Task:
    """One category of a benchmark of `CATEGORIES`.

    It is at `root/category` as published, or in `root` as `experiments/prepare.py` leaves it. A folder of
    `options.shifted` may have categories too.

    Raises:
        ValueError: a folder or option without a meaning, a file that cannot be used; it is named.
    """
    _check_shifts(options, dataset=dataset)
    read, prepared = CATEGORIES[dataset]
    folder = os.path.join(root, category)
    shifted = {}
    for name, path in _named_folders(options).items():
        inside = os.path.join(path, category)
        shifted[name] = shifted_files(inside if os.path.isdir(inside) else path)
    layout = prepared_category(root, prepared, category) or read(folder, list_images(folder))
    return _task(dataset, category, layout, shifted, options)


def mvtec_task(root: str, category: str, *, options: FolderOptions = FolderOptions()) -> Task:
    """One category of MVTec AD (`category_task`)."""
    return category_task("mvtec", root, category, options=options)


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
        root: folder of the domains, or of what `experiments/prepare.py` made of them.
        normal: the normal class.
        domain: to learn from.
        ood: "all" the images of the other domains, or every "tenth" of each class.
        options: how to read it, and the shifts: other domains and corruptions.

    Raises:
        ValueError: a folder or option without a meaning, a file that cannot be used; it is named.
    """
    records = prepared_pacs(root)
    paths = sorted(records, key=os.fsencode) or list_images(root)
    others = [name for name in pacs_domains(paths) if name != domain]
    _check_shifts(options, others, dataset="pacs")
    domains = {name: pacs_domain(root, paths, normal, name, keep=ood) for name in options.shifts if name in others}
    shifted = {name: opened(files, records) for name, files in domains.items()}
    shifted |= {name: shifted_files(path) for name, path in _named_folders(options).items()}
    layout = Layout(*(opened(files, records) for files in pacs_layout(root, paths, normal, domain=domain)))
    return _task("pacs", normal, layout, shifted, options)


def corruption(shift: str, *, severity: int, seed: int) -> Transform:
    """A shift (`parse_shift`) as a transform; an image's noise depends on the seed and on its name alone."""
    name, severity = parse_shift(shift, severity=severity)

    def apply(image: np.ndarray, image_name: str) -> np.ndarray:
        return corrupt(corruption_rng(seed, image_name), image, name, severity)

    def move(mask: np.ndarray, image_name: str) -> np.ndarray:
        return apply(255 * mask.astype(np.uint8), image_name)[..., 0] > 127

    identity = repr((name, severity, seed, __version__, np.__version__))
    return Transform(apply, identity, move if name in GEOMETRIC else None)


def load_test(files: ImageFiles, options: FolderOptions, *, shift: str = "", what: str = "") -> LabelledImages:
    """Loads a test set, corrupted by `shift` unless that is ""."""
    transform = corruption(shift, severity=options.severity, seed=options.seed) if shift else None
    files = _subset(files, options.limit_test, seed=options.seed)
    before, after = (transform, None) if options.corrupt_at == "native" else (None, transform)
    loaded, kept, _ = _load(files, options, transform=before, what=what)
    images = in_memory(loaded)
    names = tuple(files.names[i] for i in kept)
    if after:
        images = np.stack([after.apply(image, name) for image, name in zip(images, names)])
    defective = np.array([files.defects[i] != "" for i in kept], np.bool_)
    if files.masks is None:
        return LabelledImages(images, defective, None, names)
    move = before and before.move
    change = {"change": lambda mask, index: move(mask, names[index])} if move else {}
    masks, known = load_masks(
        [files.masks[i] for i in kept],
        options.size,
        defective=defective,
        skip_unreadable=options.skip_unreadable,
        what=f"{what} masks".strip(),
        **change,
    )
    if after and after.move:
        masks = np.stack([after.move(mask, name) for mask, name in zip(masks, names)])
    return LabelledImages(images, defective, masks, names, None if known.all() else known)


def _task(dataset: str, normal: str, layout: Layout, shifted: Mapping[str, ImageFiles], options: FolderOptions) -> Task:
    train_files = _subset(layout.train, options.limit_train, seed=options.seed)
    what = f"{dataset} {normal} train"
    train, kept, report = _load(train_files, options, memory_mb=options.memory_mb, what=what)
    if len(train) and (warning := range_warning(report.peak, name=f"{dataset} {normal}")):
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


def _load(files: ImageFiles, options: FolderOptions, *, what: str, **others) -> Loaded:
    fields = ("white", "alpha", "skip_unreadable", "cache_dir")
    mine = {field: getattr(options, field) for field in fields}
    return load_images(files.paths, options.size, names=files.names, what=what, **mine, **others)


def _subset(files: ImageFiles, limit: int, *, seed: int) -> ImageFiles:
    kept = limited(np.array([defect != "" for defect in files.defects], np.bool_), limit, seed=seed)
    paths, names, defects = (tuple(field[i] for i in kept) for field in files[:3])
    return ImageFiles(paths, names, defects, None if files.masks is None else tuple(files.masks[i] for i in kept))


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


def _check_shifts(options: FolderOptions, domains: Sequence[str] = (), *, dataset: str) -> None:
    corruptions = [shift for shift in options.shifts if shift not in domains]
    check_shifts([shift.partition(":")[0] for shift in corruptions], [*domains, *FAMILIES], dataset=dataset)
    for shift in corruptions:
        parse_shift(shift, severity=options.severity)
