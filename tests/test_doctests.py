"""The examples in docstrings give what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

import gnl_jax

PACKAGE = Path(gnl_jax.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text()
)
SHOWN = ("detection.evidence", "detection.options", "detection.threshold", "ops.matching", "ops.scoremap")


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    results = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert results.failed == 0


def test_the_main_functions_have_some():
    assert {f"gnl_jax.{name}" for name in SHOWN} <= set(MODULES)
