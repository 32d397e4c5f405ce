"""What pages show: their links, blocks of code, commands, and names of files, fields and flags."""

import argparse
import ast
import functools
import importlib
import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import flax.traverse_util

from gnl_jax.cli.main import parser
from gnl_jax.config import default_config

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GENERATED = ("docs/reference/cli.md", "docs/reference/config.md", "docs/reference/api/")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(p for p in DOCS.rglob("*.md") if not str(p.relative_to(ROOT)).startswith(GENERATED)),
    *sorted(p for p in DOCS.rglob("*.ipynb") if p.parent.name != ".ipynb_checkpoints"),
]
FENCE = re.compile(r"^(```+|:::+) ?(\S*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
OTHERS = ("pip", "curl", "find")  # programs that are not ours
MAKE, OURS = "make", "gnl-jax"


class Block(NamedTuple):
    """What stands between two fences: its language, "" where none is named."""

    language: str
    text: str


def markdown(page: Path) -> str:
    """What a page says; the code of a notebook is in blocks of Python."""
    if page.suffix != ".ipynb":
        return page.read_text()
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(page.read_text())["cells"]]
    return "\n\n".join(f"```python\n{text}\n```" if kind == "code" else text for kind, text in cells)


def blocks(page: Path) -> list[Block]:
    return [Block(language, text) for _, language, text in FENCE.findall(markdown(page))]


def inline(page: Path) -> list[str]:
    """Code in single backquotes, outside of blocks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", FENCE.sub("", markdown(page)))


def lines_with(page: Path, code: str) -> list[str]:
    return [line for line in markdown(page).splitlines() if f"`{code}`" in line]


def commands(page: Path) -> Iterator[list[str]]:
    """The commands of a page's blocks without a language, as lists of words; what they print is passed over."""
    for block in blocks(page):
        if block.language in ("", "bash", "sh", "shell"):
            for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
                yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    first = line.split(maxsplit=1)[0] if line.strip() else ""
    if not re.fullmatch(r"(\.venv/bin/)?(gnl-jax|python|make|pip|curl|find)|[A-Z_]+=\S*", first):
        return
    words = shlex.split(line.replace("[--", "--").replace("]", ""), comments=True)
    while words:
        end = words.index("|") if "|" in words else len(words)
        command, words = words[:end], words[end + 1 :]
        while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
            command = command[1:]
        if command:
            yield [command[0].removeprefix(".venv/bin/"), *command[1:]]


@functools.cache
def program_flags(program: str) -> frozenset[str]:
    """Flags that a program in the repository defines, "--name", whatever library reads them."""
    found, tree = set(), ast.parse((ROOT / program).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if node.func.attr.startswith("DEFINE_") and first is None:  # of names in a list
                found |= {f"--{c.value}" for c in ast.walk(tree) if isinstance(c, ast.Constant)}
            elif node.func.attr.startswith("DEFINE_"):
                found.add(f"--{first}")
            elif node.func.attr == "add_argument" and str(first).startswith("--"):
                found.add(first)
    return frozenset(found)


@functools.cache
def our_flags() -> frozenset[str]:
    """Every flag of gnl-jax and of the programs in experiments/ and examples/."""
    top = parser()
    (commands,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    parsers = [top, *commands.choices.values()]
    ours = {option for each in parsers for action in each._actions for option in action.option_strings}
    programs = [*(ROOT / "experiments").rglob("*.py"), *(ROOT / "examples").glob("*.py")]
    return frozenset(ours.union(*(program_flags(str(p.relative_to(ROOT))) for p in programs)))


@functools.cache
def fields(config_file: str = "") -> frozenset[str]:
    """Names of a configuration's fields and groups; of the default one where no file is named."""
    config = default_config()
    if config_file:
        config = runpy.run_path(str(ROOT / config_file))["get_config"](None)
    found = {f"{key}" for key in flax.traverse_util.flatten_dict(config.to_dict(), sep=".")}
    return frozenset(found | {key.rpartition(".")[0] for key in found})


def resolve(dotted: str) -> object:
    """The module, class, function or attribute of a dotted name. Raises AttributeError or ImportError."""
    found, place = importlib.import_module("gnl_jax"), "gnl_jax"
    for part in dotted.split(".")[1:]:
        place = f"{place}.{part}"
        found = getattr(found, part, None) or importlib.import_module(place)
    return found
