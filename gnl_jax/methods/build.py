"""From a configuration to a method: what each system is, and the one place that lists them."""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gnl_jax.methods.bank_and_student import build_bank_and_student
from gnl_jax.methods.bank_method import build_memory_bank
from gnl_jax.methods.base import Method
from gnl_jax.methods.choices import PRECISIONS, check_fields, choose
from gnl_jax.methods.deep_svdd import build_deep_svdd
from gnl_jax.methods.distillation import build_distillation
from gnl_jax.methods.f_anogan import build_f_anogan
from gnl_jax.methods.kdad import build_kdad
from gnl_jax.nn.teachers import bank_teachers, check_size, pyramid_teachers, teacher_record

PyTree = Any


class System(NamedTuple):
    """What the package knows of a system: a new one is a file of its own and a line in `SYSTEMS`.

    Attributes:
        build: `(config, matching=, frozen=) -> Method`; checks its own group of options and its networks' limits.
        group: its group of options, `config.method.<group>`; "" where the fields of `config.method` itself are its.
        teachers: the pretrained networks it can look at images through, by name, `config.teacher.arch`; None where it
            has none.
        matching: whether that network's features can be matched.
        trains: whether it has phases of training.
        decides: whether `gnl_jax.fit` makes detectors of it: it has score maps, drift and calibrated decisions.
    """

    build: Callable[..., Method]
    group: str = ""
    teachers: Callable[[], Collection[str]] | None = None
    matching: bool = False
    decides: bool = False
    trains: bool = True


SYSTEMS = {
    "reverse_distillation": System(build_distillation, teachers=pyramid_teachers, matching=True, decides=True),
    "memory_bank": System(
        build_memory_bank, "memory_bank", teachers=bank_teachers, matching=True, decides=True, trains=False
    ),
    "bank_and_student": System(
        build_bank_and_student, "memory_bank", teachers=pyramid_teachers, matching=True, decides=True
    ),
    "kdad": System(build_kdad, "kdad", teachers=lambda: ("vgg16",)),
    "deep_svdd": System(build_deep_svdd, "deep_svdd"),
    "f_anogan": System(build_f_anogan, "f_anogan"),
}


def system_of(config: ConfigDict) -> System:
    """The configuration's system. Raises ValueError that lists the choices."""
    return choose(SYSTEMS, config.method.system, "method.system")


def check_teacher(config: ConfigDict) -> None:
    """Checks that the system takes the configuration's teacher, and that teacher its images.

    Raises:
        ValueError: naming the field and the choices.
    """
    system, arch = system_of(config), config.teacher.arch
    if system.teachers is None:
        return
    if arch not in (able := system.teachers()):
        raise ValueError(
            f"teacher.arch: got {arch!r}, expected one of {', '.join(able)} for method {config.method.name!r}"
        )
    teacher = teacher_record(arch)
    check_size(config.dataset.size, teacher, arch=arch)
    if config.precision == "bfloat16" and not teacher.bfloat16:
        raise ValueError(f"precision: got 'bfloat16', expected 'float32' or 'tf32' for {arch}")


def matmul_precision(config: ConfigDict) -> str:
    """JAX's precision for products of float32 arrays under this configuration."""
    return choose(PRECISIONS, config.precision, "precision")[1]


def build_method(config: ConfigDict, *, matching: str = "none", frozen: PyTree | None = None) -> Method:
    """The method that `config` describes, scoring with one `matching`.

    `frozen`: the teacher's variables, if they are already at hand; otherwise `config.teacher` says where they are.
    Raises ValueError naming a field and the choices, before the teacher is loaded; `dataset` is looked at for what the
    networks can take.
    """
    system = system_of(config)
    check_fields(config)
    check_teacher(config)
    if system.matching:
        return system.build(config, matching=matching, frozen=frozen)
    if matching != "none":
        name = config.method.system
        raise ValueError(f"eval.matching: got {matching!r}, expected 'none': {name} has no features to match")
    return system.build(config, frozen=frozen)
