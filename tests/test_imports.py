"""Who imports whom, what importing costs, and how long a file may be."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "gnl_jax").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))

SHIPPED_ALONE = "gnl_jax/detection/runtime.py"  # a whole program in one file, to be copied: two ideas by purpose
HEAVY = ("tensorflow", "tensorflow_datasets", "grain", "matplotlib", "rich", "huggingface_hub", "torch")
# tensorflow-datasets' own classes, and the published networks in PyTorch: imported by nobody here.
IN_ANOTHER_LIBRARY = ("gnl_jax.data.builders", "gnl_jax.evaluation.published_torch")
PROGRAMS = ("gnl_jax.console", "gnl_jax.cli")  # what runs on a command line reads its flags

# What each package may import besides itself. Arrows never point back: ops, images -> nn -> ... -> evaluation.
MAY_IMPORT = {
    "config": set(),
    "progress": set(),
    "text": set(),
    "ops": set(),
    "images": set(),
    "data": {"images", "config"},
}
CHAIN = ("nn", "methods", "training", "detection", "evaluation", "console", "cli")
for place, package in enumerate(CHAIN):
    outside_data = {"ops", "images", "config", "progress", "text", *CHAIN[:place]}
    MAY_IMPORT[package] = outside_data | ({"data"} if place >= CHAIN.index("training") else set())


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def statements(node: ast.AST, *, deferred: bool) -> Iterator[ast.AST]:
    """All statements under a node; `deferred`: those in functions and for type checkers too, which importing skips."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if deferred or not (isinstance(child, ast.FunctionDef) or for_types):
            yield child
            yield from statements(child, deferred=deferred)


def imports(path: Path, *, deferred: bool = True) -> set[str]:
    """Every module a file imports; "a.b" for `from a import b`, which may be a module."""
    found = set()
    for node in statements(ast.parse(path.read_text()), deferred=deferred):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def package(module: str) -> str:
    """ "nn" for gnl_jax.nn.layers."""
    return module.split(".")[1]


def read_flags(modules: set[str]) -> set[str]:
    return {m for m in modules if m.startswith(("absl.flags", "absl.app", "ml_collections.config_flags"))}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_importing_any_module_pulls_in_nothing_heavy():
    """One process imports all of them in turn and says after which one something heavy was there."""
    modules = [name for name in map(module_name, FILES) if not name.startswith(IN_ANOTHER_LIBRARY)]
    program = """
import importlib, json, sys
heavy, found = set(json.loads(sys.argv[1])), {}
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
    if new := heavy & set(sys.modules):
        found[name], heavy = sorted(new), heavy - new
print(json.dumps(found))
"""
    heavy = [library for library in HEAVY if library != "rich"]  # flax itself imports it
    arguments = [sys.executable, "-c", program, json.dumps(heavy), json.dumps(modules)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
    assert len(modules) > 30


def test_heavy_libraries_are_imported_where_they_are_used():
    """Also where an earlier import already paid for them."""
    found = {
        (module_name(path), module)
        for path in FILES
        for module in imports(path, deferred=False)
        if module.split(".")[0] in HEAVY and not module_name(path).startswith(IN_ANOTHER_LIBRARY)
    }
    assert found == set()
    assert "rich.progress.Progress" in imports(ROOT / "gnl_jax/progress.py")  # or the search finds nothing


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_arrows_never_point_back(path):
    name = module_name(path)
    root = name == "gnl_jax"  # what it offers is imported when it is asked for
    allowed = set() if root else MAY_IMPORT[package(name)] | {package(name)}
    used = {package(m) for m in imports(path, deferred=not root) if m.startswith("gnl_jax.")} - {"__version__"}
    assert used <= allowed
    assert name.startswith(IN_ANOTHER_LIBRARY) or not any(m.startswith(IN_ANOTHER_LIBRARY) for m in imports(path))


def test_only_command_lines_read_flags():
    readers = {module_name(path) for path in FILES if read_flags(imports(path))}
    assert readers <= set(PROGRAMS)
    assert all(read_flags(imports(path)) for path in EXPERIMENTS)  # or the search finds nothing


@pytest.mark.parametrize("path", CONFIGS, ids=ids)
def test_configurations_need_no_library(path):
    assert {m for m in imports(path) if not m.startswith(("gnl_jax.config.", "ml_collections"))} == set()


@pytest.mark.parametrize(("paths", "most"), [(FILES, 250), (EXPERIMENTS, 69)], ids=["gnl_jax", "experiments"])
def test_no_file_is_too_long(paths, most):
    lines = {ids(path): len(path.read_text().splitlines()) for path in paths if ids(path) != SHIPPED_ALONE}
    assert {path: n for path, n in lines.items() if n > most} == {}
    assert lines
