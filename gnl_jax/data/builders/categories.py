"""What the builders of benchmarks with categories share: features, counts and examples."""

from collections.abc import Iterator, Mapping

import tensorflow_datasets as tfds
from absl import logging

from gnl_jax.data.builders.content import image_content, mask_content, report_counts
from gnl_jax.data.files import ImageFiles, Layout
from gnl_jax.data.naming import GOOD
from gnl_jax.data.pixels import ImageError
from gnl_jax.data.progress import progress

COUNTED = ("train/good", "test/good", "test/<defect>")


def configurations(categories: Mapping[str, object]) -> tuple[tfds.core.BuilderConfig, ...]:
    """A configuration for each category."""
    return tuple(tfds.core.BuilderConfig(name=name, description=f"The category {name}.") for name in categories)


def category_info(builder: tfds.core.DatasetBuilder, *, description: str, homepage: str) -> tfds.core.DatasetInfo:
    """What a category's records hold.

    Features: `image` and `mask` as in the files, the mask black where there is no defect and several joined; `label` 0
    for a normal image and 1 for an anomalous one; `defect`, its kind or "good"; `name`, the path below the category.
    """
    return tfds.core.DatasetInfo(
        builder=builder,
        description=description,
        homepage=homepage,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(),
                "mask": tfds.features.Image(shape=(None, None, 1)),
                "label": tfds.features.ClassLabel(names=["normal", "anomalous"]),
                "defect": tfds.features.Text(),
                "name": tfds.features.Text(),
            }
        ),
        supervised_keys=("image", "label"),
        disable_shuffling=True,
    )


def report(what: str, layout: Layout, published: tuple[int, ...] | None) -> None:
    """Logs how many images a category has; as a warning where that is not what was published (None: unknown)."""
    good = layout.test.defects.count("")
    found = dict(zip(COUNTED, (len(layout.train.paths), good, len(layout.test.paths) - good)))
    if published is None:
        logging.info("%s: %s", what, ", ".join(f"{name} {n}" for name, n in found.items()))
    else:
        report_counts(what, found, dict(zip(COUNTED, published)))


def check_masks(folder: str, test: ImageFiles) -> None:
    """Raises ValueError unless every defective image has a mask: a record could not say that one is not known."""
    masks = test.masks or ((),) * len(test.names)
    without = [name for name, kind, mask in zip(test.names, test.defects, masks) if kind and not mask]
    if without:
        raise ValueError(f"{folder!r}: no masks for {len(without)} defective images, such as {without[0]!r}")


def examples(files: ImageFiles, *, what: str) -> Iterator[tuple[int, dict]]:
    """The examples of a split in the order of the files.

    Raises:
        ImageError: a file that cannot be used; it is named.
    """
    masks = files.masks or ((),) * len(files.paths)
    rows = enumerate(zip(files.paths, files.names, files.defects, masks))
    for index, (path, name, defect, mask) in progress(rows, total=len(files.paths), what=what):
        image, shape = image_content(path)
        if bool(defect) != bool(mask):
            raise ImageError(f"{path!r}: got {len(mask)} masks for an image of kind {defect or GOOD!r}")
        content = {"image": image, "mask": mask_content(mask, shape)}
        yield index, content | {"label": int(defect != ""), "defect": defect or GOOD, "name": name}
