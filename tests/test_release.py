"""What leaves the house: the wheel, the source archive, the words about them."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import gnl_jax

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
STRANGERS = re.compile(r"(^|/)(tests|docs|experiments|configs|examples|requirements|runs|\.[^/]+)/|\.pyc$")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[set[str], set[str], str]:
    """Names in the wheel, names in the source archive below its one folder, and the wheel's METADATA."""
    program = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1])); print(b.build_sdist(sys.argv[1]))"
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run([sys.executable, "-c", program, folder], cwd=ROOT, capture_output=True, text=True, check=True)
    wheel, archive = done.stdout.split()
    with zipfile.ZipFile(folder / wheel) as opened:
        names = set(opened.namelist())
        metadata = opened.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    with tarfile.open(folder / archive) as opened:
        source = {member.name.partition("/")[2] for member in opened.getmembers() if member.isfile()}
    return names, source, metadata


@pytest.mark.slow
def test_weights_and_licences_go_along_and_tests_do_not(built):
    wheel, source, metadata = built
    weights = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gnl_jax/nn/weights").iterdir() if path.is_file()}
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gnl_jax").rglob("*.py")}
    for names in (wheel, source):
        assert weights | code | {"gnl_jax/py.typed"} <= names
        assert [name for name in names if STRANGERS.search(name)] == []
    licences = {name.partition("/licenses/")[2] for name in wheel if "/licenses/" in name}
    assert licences == {"LICENSE", "gnl_jax/nn/weights/LICENSE-torchvision"}
    assert {"LICENSE", "README.md", "pyproject.toml", "CHANGELOG.md", "CITATION.cff", "PKG-INFO"} <= source
    assert f"\nVersion: {gnl_jax.__version__}\n" in metadata


def test_the_version_is_written_once():
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", gnl_jax.__version__)
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


def test_every_python_that_is_claimed_is_tested():
    claimed = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    workflow = (ROOT / ".github/workflows/test.yml").read_text()
    tested = set(re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", workflow)[1]))
    assert claimed == tested
    assert PROJECT["requires-python"] == f">={min(claimed, key=lambda v: int(v[2:]))}"
    oldest = next(d for d in PROJECT["dependencies"] if d.startswith("jax>=")).removeprefix("jax>=").partition(",")[0]
    assert f"jax=={oldest}.0 jaxlib=={oldest}.0" in workflow


def test_the_types_of_every_module_are_checked():
    """Nothing is passed over but libraries without types."""
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert mypy["files"] == ["gnl_jax"]
    for entry in mypy["overrides"]:
        assert entry.keys() == {"module", "ignore_missing_imports"}
        assert not any(name.startswith("gnl_jax") for name in entry["module"])
