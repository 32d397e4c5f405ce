"""Every file in configs/ gives a configuration that can be built, saved and overridden, under every method's name."""

import runpy

import programs
import pytest

from gnl_jax.config import METHODS, default_config
from gnl_jax.config_io import load_config, plain_config, save_config
from gnl_jax.methods.build import build_method

FILES = sorted((programs.ROOT / "configs").glob("*.py"))
FILES.remove(programs.ROOT / "configs/benchmark.py")  # a grid of the others


def test_there_are_configurations():
    assert {"digits", "mnist"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_method(path, method, tmp_path):
    config = runpy.run_path(str(path))["get_config"](f",{method}")
    assert build_method(config, frozen={}).name == method
    save_config(tmp_path, config)
    assert load_config(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_field_of_its_own(path):
    """`default_config` is where every field is explained; a type never changes."""

    def types(group):
        return {name: types(value) if isinstance(value, dict) else type(value) for name, value in group.items()}

    config = runpy.run_path(str(path))["get_config"](None)
    assert types(config.to_dict()) == types(default_config().to_dict())
    plain_config(config)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_header_has_the_command(path):
    header = runpy.run_path(str(path))["__doc__"]
    assert f"python experiments/train.py --config=configs/{path.name}:" in header


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_unknown_method(path):
    if path.stem == "folder":  # its argument is a path, which may hold a comma
        assert runpy.run_path(str(path))["get_config"]("parts,gln").dataset.root == "parts,gln"
        return
    with pytest.raises(ValueError, match="method: got 'gln', expected one of rd4ad, atta, dinl, gnl"):
        runpy.run_path(str(path))["get_config"](",gln")
