"""The pretrained networks that a configuration can name, one record each."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn

from gnl_jax.array_types import Array
from gnl_jax.nn.dinov2 import PATCH, VARIANTS, DinoV2, Variant
from gnl_jax.nn.dinov2_weights import UNUSED, init_dinov2, published_key
from gnl_jax.nn.resnet import ResNet, init_teacher
from gnl_jax.nn.vgg import Source, init_source

PYRAMID = 3  # stages that reverse distillation builds on


class Published(NamedTuple):
    """Where the hub keeps `model.safetensors`, and the SHA-256 it must have."""

    repository: str
    revision: str
    sha256: str


class Bundled(NamedTuple):
    """A file of `gnl_jax/nn/weights`, and the SHA-256 it must have; its licence and origin are beside it."""

    file: str
    sha256: str


class Teacher(NamedTuple):
    """A frozen network and its weights; a new one is a line in `TEACHERS`.

    Attributes:
        module: the network; images [b s s 3] -> its stages, each [b s/stride s/stride channels].
        init: key -> random variables of it, float32.
        strides: of the stages, in pixels.
        channels: of the stages.
        multiple: of which the images' side is one.
        drift: stages that drift is measured at, of a network that also takes `match`, as `ResNet` does, for every stage
            but the last; () for one that does not, on which no memory bank can be built.
        student: the residual blocks of a student that learns its three stages (`nn.blocks.ARCHITECTURES`); "" where
            none does.
        published: the file that `source` names; None where none is known.
        source: the word for the published file: "imagenet" where ImageNet's labels were trained on.
        bundled: the file that "bundled" names; None where none is in the package.
        ignore: beginnings of keys that its files may have and that are of no use here.
        key: from a file's key to torch's name for our array.
        bfloat16: whether it computes in bfloat16 when its images are.
        classes: whether it has a class token, `module.classes`.
    """

    module: nn.Module
    init: Callable[[Array], Any]
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    multiple: int = 32
    drift: tuple[int, ...] = ()
    student: str = ""
    published: Published | None = None
    source: str = "imagenet"
    bundled: Bundled | None = None
    ignore: tuple[str, ...] = ()
    key: Callable[[str], str] = str
    bfloat16: bool = True
    classes: bool = False

    def sources(self) -> tuple[str, ...]:
        """The words, beside a path, that say where its weights come from."""
        offered = (("bundled", self.bundled), (self.source, self.published), ("random", True))
        return tuple(word for word, there in offered if there)


def _resnet(arch: str, *, expansion: int, published: Published, bundled: Bundled | None = None) -> Teacher:
    return Teacher(
        module=ResNet(arch),
        init=functools.partial(init_teacher, arch=arch),
        strides=(4, 8, 16),
        channels=(64 * expansion, 128 * expansion, 256 * expansion),
        drift=(1, 2),
        student=arch,
        published=published,
        bundled=bundled,
        ignore=("layer4.", "fc."),
    )


def dinov2_teacher(sizes: Variant, published: Published | None = None) -> Teacher:
    """A DINOv2 of any sizes: a stage for each block. Drift is measured after a quarter and a half of the blocks."""
    return Teacher(
        module=DinoV2(sizes),
        init=functools.partial(init_dinov2, sizes=sizes),
        strides=(PATCH,) * sizes.blocks,
        channels=(sizes.width,) * sizes.blocks,
        multiple=PATCH,
        drift=tuple(sorted({max(1, sizes.blocks // 4), max(1, sizes.blocks // 2)})),
        published=published,
        source="pretrained",
        ignore=UNUSED,
        key=published_key,
        bfloat16=False,
        classes=True,
    )


# Apache-2.0 by its model card. An older revision's card said CC-BY-NC: the revision matters.
_DINOV2 = {
    "dinov2_vits14": Published(
        "facebook/dinov2-small",
        "ed25f3a31f01632728cabb09d1542f84ab7b0056",
        "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
    ),
}

# torchvision's IMAGENET1K_V1 weights under torchvision's keys (BSD-3-Clause by their model cards).
TEACHERS = {
    "resnet18": _resnet(
        "resnet18",
        expansion=1,
        published=Published(
            "timm/resnet18.tv_in1k",
            "a987fd6b60f845221bfff84b6f0191273ba56ead",
            "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
        ),
        bundled=Bundled(
            "resnet18_imagenet_layers1-3.safetensors",
            "c598fc015ca0d0be21cc2a280d59231181d49c2c2e2824e30583799e16d6b99a",
        ),
    ),
    "resnet50": _resnet(
        "resnet50",
        expansion=4,
        published=Published(
            "timm/resnet50.tv_in1k",
            "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
            "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        ),
    ),
    "wide_resnet50_2": _resnet(
        "wide_resnet50_2",
        expansion=4,
        # Only the short form a616519 of the revision is known and the hub wants whole ones; `main` holds the same
        # file, and the SHA-256 pins it.
        published=Published(
            "timm/wide_resnet50_2.tv_in1k",
            "main",
            "df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c",
        ),
    ),
    "vgg16": Teacher(
        module=Source(),
        init=init_source,
        strides=(4, 8, 16, 32),
        channels=(128, 256, 512, 512),
        published=Published(
            "timm/vgg16.tv_in1k",
            "3394518cba29aee1ea82a49d971be90d2dd1dab7",
            "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
        ),
        # torchvision's classifier; the published file has it as `pre_logits` and `head`.
        ignore=("classifier.", "pre_logits.", "head."),
    ),
    **{name: dinov2_teacher(sizes, _DINOV2.get(name)) for name, sizes in VARIANTS.items()},
}


def teacher_record(name: str) -> Teacher:
    """The record of this name. Raises ValueError that lists the choices."""
    if name not in TEACHERS:
        raise ValueError(f"arch: got {name!r}, expected one of {', '.join(TEACHERS)}")
    return TEACHERS[name]


def pyramid_teachers() -> dict[str, Teacher]:
    """The teachers with three stages and a student that learns them, by name."""
    return {name: teacher for name, teacher in TEACHERS.items() if len(teacher.strides) == PYRAMID and teacher.student}


def bank_teachers() -> dict[str, Teacher]:
    """The teachers that a memory bank can be built on, by name."""
    return {name: teacher for name, teacher in TEACHERS.items() if teacher.drift}


def check_size(size: int, teacher: Teacher, *, arch: str, field: str = "dataset.size") -> None:
    """ValueError naming the field unless a teacher takes images of this side."""
    if size < teacher.multiple or size % teacher.multiple:
        raise ValueError(f"{field}: got {size}, expected a multiple of {teacher.multiple} for {arch}")
