"""PACS for TFDS: seven classes in four domains, each domain a split."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds
from absl import logging

from gnl_jax.data.builders.content import image_content, report_counts
from gnl_jax.data.listing import list_images
from gnl_jax.data.progress import progress

CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
PUBLISHED = {  # images of each class, 9,991 in all
    "photo": (189, 202, 182, 186, 199, 280, 432),
    "art_painting": (379, 255, 285, 184, 201, 295, 449),
    "cartoon": (389, 457, 346, 135, 324, 288, 405),
    "sketch": (772, 740, 753, 608, 816, 80, 160),
}


class Pacs(tfds.core.GeneratorBasedBuilder):
    """The splits are the domains that were found; images in the order of class and file name.

    Features: `image`, `label` (position in `CLASSES`), and `name`, the path "<domain>/<class>/<file>".
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder of the domains, with photo/dog/."

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs, paintings, cartoons and sketches of seven classes.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(names=list(CLASSES)),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Raises `ValueError` for a folder with none of the domains."""
        root = os.fspath(dl_manager.manual_dir)
        domains: dict[str, list] = {domain: [] for domain in PUBLISHED}
        others: Counter[str] = Counter()
        for path in list_images(root):
            match path.split("/"):
                case [domain, label, _] if domain in domains and label in CLASSES:
                    domains[domain].append(path)
                case _:
                    others[os.path.dirname(path) or "."] += 1
        if not any(domains.values()):
            raise ValueError(f"{root!r}: no images in {'/, '.join(PUBLISHED)}/; found {dict(others)}")
        if others:
            logging.warning("pacs: left out, of no known domain and class: %s", dict(others))
        for domain, paths in domains.items():
            found = Counter(path.split("/")[1] for path in paths)
            report_counts(f"pacs {domain}", found, dict(zip(CLASSES, PUBLISHED[domain])))
        return {domain: self._generate_examples(root, paths) for domain, paths in domains.items() if paths}

    def _generate_examples(self, root: str, paths: Sequence[str]) -> Iterator[tuple[int, dict]]:
        domain = paths[0].split("/")[0]
        for index, path in progress(enumerate(paths), total=len(paths), what=f"pacs {domain}"):
            image, _ = image_content(os.path.join(root, path))
            yield index, {"image": image, "label": path.split("/")[1], "name": path}
