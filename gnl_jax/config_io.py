"""Configurations to JSON and back, and the fields in which two of them differ."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from gnl_jax.config import default_config
from gnl_jax.files import write_atomic


def plain_config(config: Mapping[str, Any], *, name: str = "") -> dict[str, Any]:
    """The config as nested dicts of None, bool, int, finite float, str and lists: what JSON holds exactly.

    Raises ValueError naming the field that holds anything else.
    """
    return {str(key): _plain(value, name=f"{name}{key}") for key, value in config.items()}


def _plain(value: Any, *, name: str) -> Any:
    if isinstance(value, Mapping | ml_collections.ConfigDict):
        return plain_config(value, name=f"{name}.")
    if isinstance(value, tuple | list):
        return [_plain(item, name=f"{name}[{i}]") for i, item in enumerate(value)]
    finite = type(value) is float and math.isfinite(value)
    if not (finite or value is None or type(value) in (bool, int, str)):
        raise ValueError(
            f"config.{name}: got {value!r} ({type(value).__name__}), "
            "expected None, bool, int, finite float, str, a tuple or a group of these"
        )
    return value


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def save_config(workdir: str | os.PathLike, config: ml_collections.ConfigDict) -> None:
    """Writes `config.json`, atomically. Raises ValueError naming a field that JSON cannot hold exactly."""
    write_atomic(Path(workdir) / "config.json", json.dumps(plain_config(config), indent=2) + "\n")


def load_config(workdir: str | os.PathLike) -> ml_collections.ConfigDict:
    """Reads what `save_config` wrote, sequences as tuples; fields that it lacks get their default.

    Raises ValueError naming a file it cannot read.
    """
    path = Path(workdir) / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}; expected the config of an earlier run") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: got a JSON {type(config).__name__}, expected the config of an earlier run")
    return filled_config(config, default_config())


def filled_config(config: dict[str, Any], default: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """What `plain_config` gave as a configuration again, sequences as tuples; fields that it lacks are `default`'s."""
    return ml_collections.ConfigDict(_filled(_tuples(config), default.to_dict()))


def _filled(config: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """`config` with the fields that only `default` has; a new field's default is what was done without it."""
    nested = {key: _filled(config[key], value) for key, value in default.items() if isinstance(config.get(key), dict)}
    return default | config | nested


def config_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, value here, value there) of every field that differs, by name; `ABSENT` where it does not exist."""
    old, new = (dict(_leaves(plain_config(config))) for config in (one, other))
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new or old[name] != new[name]:
            yield name, old.get(name, ABSENT), new.get(name, ABSENT)


class _Absent:
    def __str__(self) -> str:
        return "absent"


ABSENT = _Absent()


def _leaves(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
