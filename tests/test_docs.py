"""What README and docs show exists and works: links, files, commands with their flags, fields, code."""

import ast
import importlib
import itertools
import re
import sys
import tomllib

import pytest
from doc_pages import (
    MAKE,
    OTHERS,
    OURS,
    PAGES,
    ROOT,
    blocks,
    commands,
    fields,
    inline,
    lines_with,
    markdown,
    our_flags,
    program_flags,
    resolve,
)

import gnl_jax
from gnl_jax.cli.main import parser
from gnl_jax.detection.limits import make_limits
from gnl_jax.detection.verdict import parts_for_verdict
from gnl_jax.images.corruptions import FAMILIES

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
FOLDERS = "gnl_jax|experiments|configs|examples|docs|tests|requirements"
# Pages whose blocks need nothing of the reader: they are run. The last ones fit a detector.
QUICK = ("docs/howto/add-a-dataset.md", "docs/howto/add-a-shift.md", "docs/howto/add-a-matching.md")
LONGER = ("docs/howto/add-a-method.md", "docs/howto/add-a-teacher.md", "docs/tutorial-loss.md")


def ids(page) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(params=PAGES, ids=ids)
def page(request):
    return request.param


def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", markdown(page))
    generated = ("reference/cli.md", "reference/config.md", "reference/api/")
    inside = [link for link in links if not re.match(r"[a-z]+:", link) and not link.startswith(generated)]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_files_that_are_named_exist(page):
    named = [code for code in inline(page) if re.fullmatch(rf"({FOLDERS})/[\w./-]*", code)]
    missing = [name for name in named if not (ROOT / name).exists()]
    placeholders = [n for n in missing if re.search(r"[A-Z]{3}", n) or all(", new" in x for x in lines_with(page, n))]
    assert sorted(set(missing) - set(placeholders)) == []


def test_names_of_the_package_exist(page):
    for code in inline(page):
        if found := re.fullmatch(r"(gnl_jax(?:\.\w+)+)(\(.*\))?", code):
            resolve(found[1])


def test_fields_and_flags_that_are_named_exist(page):
    named = [re.match(r"(?:dataset|teacher|method|train|eval)\.[a-z][\w.]*", code) for code in inline(page)]
    named = [found[0] for found in named if found and not found[0].endswith(".py")]
    assert [name for name in named if name.rstrip(".") not in fields()] == []
    flags = {flag for code in inline(page) for flag in re.findall(r"(?<!\S)--[a-z][\w-]*", code)}
    assert sorted(f for f in flags - our_flags() - {"--help", "--config"} if not f.startswith("--xla_")) == []


def test_commands_can_be_given_like_this(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    makefile = (ROOT / "Makefile").read_text()
    for command in commands(page):
        program, *rest = command
        if program == OURS:
            for flag, value in itertools.pairwise(rest):
                if flag == "--shifted":  # the parser itself looks whether the folder is there
                    (tmp_path / value.partition("=")[2]).mkdir(parents=True, exist_ok=True)
            try:
                parser().parse_args([word for word in rest if word != "..."])
            except SystemExit:
                pytest.fail(f"{' '.join(command)}: {capsys.readouterr().err}")
        elif program == MAKE:
            targets = [word for word in rest if "=" not in word]
            assert [t for t in targets if not re.search(rf"^(\S+ )*{t}( \S+)*:", makefile, re.MULTILINE)] == []
        elif program == "pip":
            wanted = re.findall(r"\[([\w,-]+)\]", " ".join(rest))
            assert [e for group in wanted for e in group.split(",") if e not in EXTRAS and e != "cuda13"] == []
        elif program == "python" and rest[0].startswith(("experiments/", "examples/")):
            check_program(*rest)
        else:
            assert program in OTHERS or rest[0] in ("gnl_onnx.py", "gnl_runtime.py"), command


def check_program(program: str, *arguments: str):
    config = next((a.partition("=")[2].partition(":")[0] for a in arguments if a.startswith("--config=")), "")
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag.startswith("--config."):
            assert flag.removeprefix("--config.") in fields(config), (program, argument)
        elif flag.startswith("--"):
            assert flag in program_flags(program), (program, argument)


def python_blocks(page) -> list[str]:
    return [block.text for block in blocks(page) if block.language == "python"]


def test_python_uses_what_there_is(page):
    for text in python_blocks(page):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "gnl_jax":
                assert [a.name for a in node.names if not hasattr(importlib.import_module(node.module), a.name)] == []
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "gnl_jax":
                resolve(f"gnl_jax.{node.attr}")


def run_blocks(name: str) -> dict:
    names = {}
    for text in python_blocks(ROOT / name):
        exec(compile(text, name, "exec"), names)
    return names


@pytest.mark.parametrize("name", QUICK)
def test_code_runs_as_shown(name, capsys):
    names = run_blocks(name)
    assert len(names) > 2
    if "task" in name:
        assert names["shapes_task"]("squares", size=32).load_test("id").images.shape == (20, 32, 32, 3)
    if "matching" in name:
        assert float(capsys.readouterr().out) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_code_that_fits_runs_as_shown(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks(name)
    assert capsys.readouterr().out.splitlines()[-1] in ("OK", "REVIEW")


def extension(name):
    sys.path.insert(0, str(ROOT / "docs/_ext"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def reference_pages():
    return extension("reference_pages")


def test_code_in_docstrings_begins_and_ends_where_it_should():
    restructured = extension("markup").as_restructured
    assert restructured("`vmap`, `scan` and `grad` take it") == "``vmap``, ``scan`` and ``grad`` take it"
    assert restructured("as `name`s and `a`-th, b`c`") == r"as ``name``\ s and ``a``-th, b\ ``c``"


def test_options_in_the_help_of_commands_keep_their_hyphens():
    page = reference_pages().command_page()
    outside = re.sub(r"```.*?```|`[^`]*`", "", page, flags=re.DOTALL)
    assert "--" not in outside.replace("|---|---|", "")


def test_the_page_of_fields_has_comments_of_several_lines_as_a_whole():
    (row,) = re.findall(r"^\| `teacher\.arch` .*", reference_pages().configuration_page(), re.MULTILINE)
    assert row.index("resnet50") < row.index("dinov2_vitl14")


@pytest.mark.slow
def test_every_public_name_is_documented():
    """Of all modules that the reference shows; the site's build holds the reference to the same names."""
    pages = reference_pages()
    modules, missing = pages.modules(pages.PACKAGE), []
    for module in modules:
        path = ROOT / (module.replace(".", "/") + ".py")
        tree = ast.parse(path.read_text())
        named = {getattr(n, "name", ""): n for n in tree.body}  # of a function with overloads the last, which is it
        nodes = [named[name] for name in pages.public_names(path) if name in named]
        missing += [module] * (not ast.get_docstring(tree)) + [
            f"{module}.{n.name}" for n in nodes if not ast.get_docstring(n)
        ]
    assert missing == []
    assert len(modules) > 150
    assert {pages.home(n).rpartition(".")[0] for n in gnl_jax.__all__ if n != "__version__"} <= set(modules)


def test_every_page_is_checked_and_in_the_navigation():
    toctree = "\n".join(text for p in PAGES for language, text in blocks(p) if language == "{toctree}")
    inside = [p.relative_to(ROOT / "docs").with_suffix("").as_posix() for p in PAGES if ROOT / "docs" in p.parents]
    assert [name for name in inside if name != "index" and not re.search(rf"^{name}$", toctree, re.MULTILINE)] == []
    assert len(inside) > 15


def test_the_default_report_shows_as_many_images_as_its_page_says():
    """For a target of 5 %, where each part has one image."""
    args = parser().parse_args(["shift", "part.gnl", "--good", "good"])
    parts = sum(parts_for_verdict(make_limits(0.05, margin=args.margin, least_caught=args.least_caught)))
    images = len(FAMILIES) * len(args.severities.split(",")) * parts
    page = (ROOT / "docs" / "verdicts.md").read_text()
    assert f": {images:,} images" in importlib.import_module("gnl_jax.cli.shift").__doc__
    assert f"These are {images:,} images for the {len(FAMILIES)} kinds of shift at severities 1 and 3." in page
