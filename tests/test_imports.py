"""Who imports whom, what importing costs, and how long a file may be."""

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gnl_jax

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "gnl_jax").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
SHARED = tuple(ROOT / f"experiments/{name}.py" for name in ("folder_counts", "result_rows", "verdict_simulation"))
EXPERIMENTS = sorted(set((ROOT / "experiments").glob("[!_]*.py")) - set(SHARED))
SPEED = sorted((ROOT / "experiments/speed").glob("*.py"))

SHIPPED_ALONE = "gnl_jax/deploy/runtime.py"  # a whole program in one file, to be copied: two ideas by purpose
HEAVY = ("tensorflow", "tensorflow_datasets", "grain", "matplotlib", "rich", "huggingface_hub", "torch")
HEAVY += ("onnx", "onnxruntime", "openvino")
# tensorflow-datasets' own classes: imported by nobody here.
IN_ANOTHER_LIBRARY = ("gnl_jax.data.builders",)
PROGRAMS = ("gnl_jax.console", "gnl_jax.cli")  # what runs on a command line reads its flags

# What each package may import besides itself. Arrows never point back: ops, images -> nn -> ... -> cli.
ANYWHERE = {"array_types", "batches", "config", "config_io", "config_published", "files", "machine"}
ANYWHERE |= {"named_methods", "overlap", "progress", "text", "version"}
MAY_IMPORT = {
    "array_types": set(),
    "batches": set(),
    "config": {"named_methods"},
    "config_published": set(),
    "config_io": {"config", "files"},
    "files": set(),
    "machine": set(),
    "named_methods": {"config_published"},
    "overlap": set(),
    "progress": set(),
    "text": set(),
    "version": set(),
    "ops": {"array_types"},
    "images": {"array_types"},
    "data": {"images", "batches", "config", "machine", "version"},
}
CHAIN = ("nn", "methods", "training", "detection", "deploy", "evaluation", "report", "paper", "console", "cli")
for place, package in enumerate(CHAIN):
    below = {"ops", "images", *ANYWHERE, *CHAIN[:place]} - ({"deploy"} if package != "cli" else set())
    MAY_IMPORT[package] = below | ({"data"} if place >= CHAIN.index("training") else set())
MAY_IMPORT["paper"] -= {"report"}
MAY_IMPORT["__main__"] = {"cli"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def statements(node: ast.AST, *, deferred: bool) -> Iterator[ast.AST]:
    """All statements under a node; `deferred`: those in functions and for type checkers too, which importing skips."""
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if deferred or not (isinstance(child, ast.FunctionDef) or for_types):
            yield child
            yield from statements(child, deferred=deferred)


@functools.cache
def imports(path: Path, *, deferred: bool = True) -> frozenset[str]:
    """Every module a file imports; "a.b" for `from a import b`, which may be a module."""
    found = set()
    for node in statements(ast.parse(path.read_text()), deferred=deferred):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def package(module: str) -> str:
    """ "nn" for gnl_jax.nn.layers."""
    return module.split(".")[1]


def read_flags(modules: set[str]) -> set[str]:
    return {m for m in modules if m.startswith(("absl.flags", "absl.app", "ml_collections.config_flags"))}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.slow
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
    used = {package(m) for m in imports(path, deferred=not root) if m.startswith("gnl_jax.")} - {"version"}
    assert used <= allowed
    assert name.startswith(IN_ANOTHER_LIBRARY) or not any(m.startswith(IN_ANOTHER_LIBRARY) for m in imports(path))


def test_no_module_is_part_of_a_circle():
    """Also by imports inside functions: a circle that a lazy import hides is a circle."""
    modules = {module_name(path): imports(path) for path in FILES if path.name != "__init__.py"}
    arrows = {
        name: {other for m in used for other in (m, m.rpartition(".")[0]) if other in modules and other != name}
        for name, used in modules.items()
    }
    assert sum(map(len, arrows.values())) > 100  # or the search finds nothing
    while free := {name for name, used in arrows.items() if not used}:
        arrows = {name: used - free for name, used in arrows.items() if name not in free}
    assert arrows == {}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_module_imports_the_public_face(path):
    names = {name for name in imports(path) if name.startswith("gnl_jax.") and name.count(".") == 1}
    assert {n.split(".")[1] for n in names} <= {"console"}  # a module of the root, not a name that it offers


def test_the_public_face_offers_what_it_lists():
    assert dir(gnl_jax) == gnl_jax.__all__ == sorted(gnl_jax.__all__)
    assert {name for name in gnl_jax.__all__ if getattr(gnl_jax, name, None) is None} == set()
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = gnl_jax.absent


def test_only_command_lines_read_flags():
    readers = {module_name(path) for path in FILES if read_flags(imports(path))}
    assert readers <= set(PROGRAMS)
    assert all(read_flags(imports(path)) for path in EXPERIMENTS)  # or the search finds nothing


@pytest.mark.parametrize("path", CONFIGS, ids=ids)
def test_configurations_need_no_library(path):
    assert {m for m in imports(path) if not m.startswith(("gnl_jax.config.", "ml_collections"))} == set()


LIMITS = {"gnl_jax": (FILES, 250), "speed": ([*SPEED, *SHARED], 250), "experiments": (EXPERIMENTS, 69)}


@pytest.mark.parametrize(("paths", "most"), LIMITS.values(), ids=LIMITS)
def test_no_file_is_too_long(paths, most):
    lines = {ids(path): len(path.read_text().splitlines()) for path in paths if ids(path) != SHIPPED_ALONE}
    assert {path: n for path, n in lines.items() if n > most} == {}
    assert lines
