"""One file out of several: `gnl_onnx.py` is runtime.py with what it imports from this package written out."""

import ast
import functools
import importlib.util
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeGuard

PACKAGE = "gnl_jax"
OPTIONAL = "PIL"  # definitions that need it are made only where it is installed
RUNTIME = "gnl_jax.deploy.onnx.runtime"


class Definition(NamedTuple):
    """A function, class or value at the top of a module of this package."""

    module: str
    name: str


@functools.cache
def shipped_source() -> str:
    """The text of `gnl_onnx.py`, which imports nothing of this package.

    Raises:
        ValueError: two definitions of one name.
    """
    statements = _tree(RUNTIME).body
    own = [s for s in statements if not _ours(s)]
    head = [s for s in own if isinstance(s, ast.Import | ast.ImportFrom)]
    wanted = _imported(statements)
    needed = _closure(wanted)
    names = [d.name for d in needed] + [name for s in own for name in _defined(s)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{RUNTIME}: got two definitions of {', '.join(twice)}, expected one of each name")
    optional = [d for d in needed if _needs(d)]
    imports = sorted({line for d in needed for line in _imports(d)} - {line for s in head for line in _one_by_one(s)})
    parts = [_text(RUNTIME, own[0])]  # the docstring
    parts.append("\n".join([*map(ast.unparse, head), *(line for line in imports if OPTIONAL not in line)]))
    parts += dict.fromkeys(
        _text(d.module, _statement(d)) for d in needed if d not in optional
    )  # one may define several
    parts.append(_where_installed([line for line in imports if OPTIONAL in line], optional))
    parts += [_text(RUNTIME, s) for s in own[1:] if s not in head]
    return "\n\n\n".join(parts) + "\n"


def _where_installed(imports: list[str], definitions: list[Definition]) -> str:
    """Definitions that need the optional package; without it their names are None."""
    texts = ["\n".join(imports), *(_text(d.module, _statement(d)) for d in definitions)]
    body = textwrap.indent("\n\n".join(texts), "    ")
    absent = " = ".join(d.name for d in definitions)
    return f"try:\n    import {OPTIONAL}\nexcept ImportError:\n    {absent} = None\nelse:\n{body}"


def _closure(definitions: Iterable[Definition], seen: set[Definition] | None = None) -> list[Definition]:
    """The definitions and all of this package that they refer to, each after those."""
    seen = set() if seen is None else seen
    found = []
    for definition in definitions:
        if definition not in seen:
            seen.add(definition)
            found += [*_closure(_references(definition), seen), definition]
    return found


@functools.cache
def _references(definition: Definition) -> tuple[Definition, ...]:
    module, name = definition
    used = _read(_statement(definition)) - {name}
    here = [Definition(module, n) for s in _tree(module).body for n in _defined(s) if n in used]
    there = [d for d in _imported(_tree(module).body) if d.name in used]
    return tuple(there + here)


def _read(statement: ast.stmt) -> set[str]:
    """The names whose values a statement reads; a field that it declares is none of them."""
    nodes = ast.walk(statement)
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _needs(definition: Definition) -> bool:
    """Whether the optional package is needed for it, or for what it refers to."""
    return any(OPTIONAL in line for d in _closure([definition]) for line in _imports(d))


def _imports(definition: Definition) -> list[str]:
    """Imports from elsewhere that a definition uses, one name a line."""
    used = _read(_statement(definition))
    lines = []
    for statement in _tree(definition.module).body:
        if isinstance(statement, ast.Import | ast.ImportFrom) and not _ours(statement):
            for alias in statement.names:
                if (alias.asname or alias.name).split(".")[0] in used:
                    lines += _one_by_one(statement, alias)
    return lines


def _one_by_one(statement: ast.Import | ast.ImportFrom, *aliases: ast.alias) -> list[str]:
    """An import as one line for each name, all of them or those given."""
    names = [[alias] for alias in aliases or statement.names]
    if isinstance(statement, ast.ImportFrom):
        return [ast.unparse(ast.ImportFrom(statement.module, one, 0)) for one in names]
    return [ast.unparse(ast.Import(one)) for one in names]


def _statement(definition: Definition) -> ast.stmt:
    for statement in _tree(definition.module).body:
        if definition.name in _defined(statement):
            return statement
    raise ValueError(f"{definition.module}: got no {definition.name} at its top, expected a definition")


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def _ours(statement: ast.stmt) -> TypeGuard[ast.ImportFrom]:
    return isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == PACKAGE


def _imported(statements: Iterable[ast.stmt]) -> list[Definition]:
    """What statements import from this package."""
    return [Definition(s.module or "", alias.name) for s in statements if _ours(s) for alias in s.names]


@functools.cache
def _lines(module: str) -> list[str]:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise ValueError(f"{module}: no such module")
    return Path(found.origin).read_text(encoding="utf-8").splitlines()


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse("\n".join(_lines(module)))


def _text(module: str, statement: ast.stmt) -> str:
    """A statement as it is written, with its decorators and the comment before it."""
    lines, first = (
        _lines(module),
        min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))]),
    )
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return "\n".join(lines[first - 1 : statement.end_lineno])
