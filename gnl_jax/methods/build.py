"""From a configuration to a method: what each system is, and the one place that lists them."""

from collections.abc import Callable
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

PyTree = Any


class System(NamedTuple):
    """What the package knows of a system: a new one is a file of its own and a line in `SYSTEMS`.

    Attributes:
        build: `(config, matching=, frozen=) -> Method`; checks its own group of options and its networks' limits.
        group: its group of options, `config.method.<group>`; "" where the fields of `config.method` itself are its.
        teacher: whether it looks at images through a pretrained network, `config.teacher`.
        matching: whether that network's features can be matched.
        trains: whether it has phases of training.
        decides: whether `gnl_jax.fit` makes detectors of it: it has score maps, drift and calibrated decisions.
    """

    build: Callable[..., Method]
    group: str = ""
    teacher: bool = False
    matching: bool = False
    decides: bool = False
    trains: bool = True


SYSTEMS = {
    "reverse_distillation": System(build_distillation, teacher=True, matching=True, decides=True),
    "memory_bank": System(build_memory_bank, "memory_bank", teacher=True, matching=True, decides=True, trains=False),
    "bank_and_student": System(build_bank_and_student, "memory_bank", teacher=True, matching=True, decides=True),
    "kdad": System(build_kdad, "kdad", teacher=True),
    "deep_svdd": System(build_deep_svdd, "deep_svdd"),
    "f_anogan": System(build_f_anogan, "f_anogan"),
}


def system_of(config: ConfigDict) -> System:
    """The configuration's system. Raises ValueError that lists the choices."""
    return choose(SYSTEMS, config.method.system, "method.system")


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
    if system.matching:
        return system.build(config, matching=matching, frozen=frozen)
    if matching != "none":
        name = config.method.system
        raise ValueError(f"eval.matching: got {matching!r}, expected 'none': {name} has no features to match")
    return system.build(config, frozen=frozen)
