"""The reference pages that are made from the code: API, command line, configuration. Written when a build begins."""

import argparse
import ast
import inspect
import io
import re
import tokenize
from pathlib import Path

import gnl_jax
from gnl_jax.cli.main import parser

PACKAGE = Path(gnl_jax.__file__).parent
# In the order in which images flow through them; what is left out is a program, or classes of tensorflow-datasets.
FOLDERS = {
    "ops": "array functions without parameters",
    "images": "functions on images",
    "data": "where images come from",
    "nn": "networks and their weights",
    "methods": "what is learned and how it scores",
    "training": "the loop, checkpoints, several jobs",
    "detection": "fit, detector, threshold, recalibrate",
    "deploy": "StableHLO and ONNX",
    "evaluation": "from scores to numbers",
    "report": "from numbers to a page",
    "paper": "the paper's grid, tables and figures",
}
LEFT_OUT = re.compile(r"gnl_jax\.(cli|data\.builders)(\.|$)")


def modules(folder: Path) -> list[str]:
    """Dotted names of the modules below a folder that have something public, without packages' own files."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.name != "__init__.py" and not LEFT_OUT.match(name) and public_names(path):
            found.append(name)
    return found


def public_names(path: Path) -> list[str]:
    """Functions and classes that a module defines under a name of its own."""
    body = ast.parse(path.read_text()).body
    defined = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in body if isinstance(node, defined) and not node.name.startswith("_")]


def face_page() -> str:
    """The names of `gnl_jax` itself, with the first line of what each does."""
    lines = ["# gnl_jax: the public names", "", gnl_jax.__doc__.partition("\n\n")[2].strip(), ""]
    lines += ["| `gnl_jax.` | |", "|---|---|"]
    for name in gnl_jax.__all__:
        if name != "__version__":
            first = inspect.getdoc(getattr(gnl_jax, name)).partition("\n\n")[0].replace("\n", " ")
            lines.append(f"| {{py:obj}}`{name} <{home(name)}>` | {_cell(first)} |")
    return "\n".join([*lines, ""])


def home(name: str) -> str:
    """The full name of something that `gnl_jax` offers."""
    return f"{getattr(gnl_jax, name).__module__}.{name}"


def folder_page(folder: str, what: str) -> str:
    """One page for one folder: each module with everything public in it."""
    lines = [f"# gnl_jax.{folder}: {what}", ""]
    return "\n".join(lines + [line for name in modules(PACKAGE / folder) for line in _section(name)])


def root_page() -> str:
    """The modules that belong to no folder."""
    lines = ["# gnl_jax: modules of the root", ""]
    return "\n".join(lines + [line for m in modules(PACKAGE) if m.count(".") == 1 for line in _section(m)])


def _section(module: str) -> list[str]:
    title = module.split(".", 2)[-1] if module.count(".") > 1 else module.partition(".")[2]
    return [f"## {title}", "", "```{eval-rst}", f".. automodule:: {module}", "   :members:", "```", ""]


def command_page() -> str:
    """Every command, from the parsers that read the command line."""
    top = parser()
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    lines = ["# The command line: gnl-jax", "", *_prose(top.description), ""]
    for name, command in commands.choices.items():
        lines += [f"## gnl-jax {name}", "", *_prose(command.description), "", "```text"]
        lines += [*_usage(command), "```", "", "| argument | meaning |", "|---|---|"]
        lines += [f"| {_flags(action)} | {_meaning(action, command)} |" for action in command._actions]
        lines.append("")
    return "\n".join(lines)


def _prose(text: str) -> list[str]:
    return [_options_as_code(line) for line in (text or "").strip().splitlines()]


def _options_as_code(line: str) -> str:
    return re.sub(r"(`[^`]*`)|(?<!\w)(--[a-z-]+)", lambda found: found[1] or f"`{found[2]}`", line)


def _usage(command: argparse.ArgumentParser) -> list[str]:
    formatter = argparse.HelpFormatter(command.prog, width=78)
    formatter.add_usage(command.usage, command._actions, command._mutually_exclusive_groups, prefix="")
    return formatter.format_help().rstrip().splitlines()


def _flags(action: argparse.Action) -> str:
    names = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.dest}`"
    if action.choices is not None:
        return f"{names} {' or '.join(f'`{choice}`' for choice in action.choices)}"
    value = action.metavar if action.option_strings and action.nargs != 0 else None
    if action.option_strings and action.nargs != 0 and value is None:
        value = action.dest.upper()
    return f"{names} `{value}`".replace("|", "\\|") if value else names


def _meaning(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(command.prog, width=10_000)
    return _options_as_code(formatter._expand_help(action) if action.help else "").replace("|", "\\|")


def configuration_page() -> str:
    """Every field with its default and the comment beside it, from gnl_jax/config.py."""
    text = (PACKAGE / "config.py").read_text()
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start: token.string[1:].strip() for token in tokens if token.type == tokenize.COMMENT}
    (function,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == "default_config")
    groups, rows = {"config": ""}, []
    for node in function.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            if not isinstance(target, ast.Attribute):
                continue
            field = groups[target.value.id] + target.attr
            if isinstance(node.value, ast.Call):  # a group: `method = config.method = ConfigDict()`
                groups |= {name.id: f"{field}." for name in targets if isinstance(name, ast.Name)}
            else:
                rows.append(f"| `{field}` | `{ast.unparse(node.value)}` | {_cell(_comment(node, comments))} |")
    return "\n".join([_CONFIGURATION, "| field | default | meaning |", "|---|---|---|", *rows, ""])


def _comment(node: ast.stmt, comments: dict[tuple[int, int], str]) -> str:
    """The comment beside a statement; else all lines of the one above it."""
    beside = [text for (line, _), text in comments.items() if node.lineno <= line <= node.end_lineno]
    above, line = list[str](), node.lineno - 1
    while (line, node.col_offset) in comments:
        above.insert(0, comments[line, node.col_offset])
        line -= 1
    return " ".join(beside or above)


def _cell(comment: str) -> str:
    return re.sub(r'(?<!`)"([^"`]*)"', r'`"\1"`', comment).replace("|", "\\|")


_CONFIGURATION = """# Configuration fields

Programs in `experiments/` take `--config.FIELD=VALUE` for any field here; `gnl_jax.fit` takes a configuration that has
them all. A file in `configs/` starts from these defaults. A field that does not exist is an error that names the
nearest one.
"""


def write(app) -> None:
    """All generated pages; a file that would not change keeps its time, so that Sphinx does not read it again."""
    folder = Path(app.srcdir) / "reference"
    pages = {"cli": command_page(), "config": configuration_page(), "api/gnl_jax": face_page(), "api/root": root_page()}
    pages |= {f"api/{name}": folder_page(name, what) for name, what in FOLDERS.items()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app) -> dict:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
