"""Commands that need a rate, with a detector of so few images that it states none."""

import argparse
import dataclasses

import pytest
from bright import detector

from gnl_jax.cli.shift import acceptable


def test_shift_names_what_is_missing():
    found = detector()
    manifest = {**found.record.manifest, "rules": {"ng": None, "review": None, "drift": None}}
    uncalibrated = dataclasses.replace(found, record=dataclasses.replace(found.record, manifest=manifest))
    with pytest.raises(ValueError, match="states no false-alarm rate"):
        acceptable(uncalibrated, argparse.Namespace(acceptable=None, margin=None, least_caught=None))
