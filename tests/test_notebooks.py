"""The notebooks of the site: kept without outputs, in the navigation, with links that lead to them, and they run."""

import ast
import json
import re
import sys
import types
from pathlib import Path

import pytest
from doc_pages import DOCS, PAGES, ROOT, blocks

NOTEBOOKS = [page for page in PAGES if page.suffix == ".ipynb"]
QUICKEST = "tutorials/matching-explained"
EXAMPLE = (ROOT / "examples/custom_loop.py").read_text()


def name_of(notebook: Path) -> str:
    return notebook.relative_to(DOCS).with_suffix("").as_posix()


@pytest.fixture(params=NOTEBOOKS, ids=name_of)
def notebook(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def extension():
    """docs/_ext/notebooks.py."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        import notebooks
    finally:
        sys.path.pop(0)
    return notebooks


def cells(notebook: Path, kind: str) -> list[str]:
    found = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def test_there_are_some():
    expected = ("custom-loop", "matching-explained", "quickstart", "shift-report")
    assert [name_of(notebook) for notebook in NOTEBOOKS] == [f"tutorials/{name}" for name in expected]


def test_it_is_kept_without_outputs(notebook):
    """In the form that Jupyter writes, so that a change in it is a change of what is read."""
    text = notebook.read_text()
    content = json.loads(text)
    assert text == json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    assert set(content["metadata"]) == {"kernelspec", "language_info"}
    for cell in content["cells"]:
        code = {"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}
        assert {name: cell[name] for name in cell.keys() - {"cell_type", "id", "source"}} == {"metadata": {}, **code}
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    assert "links" not in ids  # docs/_ext/notebooks.py adds it


def test_it_is_in_the_navigation(notebook):
    tutorials = next(text for language, text in blocks(DOCS / "index.md") if "Tutorials" in text)
    assert name_of(notebook) in tutorials.split()


def test_it_begins_with_its_title(notebook):
    assert re.match(r"# \S.*\n\n\S", cells(notebook, "markdown")[0])
    assert json.loads(notebook.read_text())["cells"][0]["cell_type"] == "markdown"


def test_links_lead_to_it(extension, notebook):
    text = extension.links("owner/name", name_of(notebook))
    (where,) = re.findall(r"\[open it in Colab\]\((.*?)\)", text)
    found = re.fullmatch(r"https://colab\.research\.google\.com/github/owner/name/blob/main/(docs/\S+\.ipynb)", where)
    assert ROOT / found[1] == notebook
    (file,) = re.findall(r"\{download\}`[^`<]+<([^>]+)>`", text)
    assert notebook.parent / file == notebook
    assert "Colab" not in extension.links("", name_of(notebook))


def test_the_links_are_below_the_title(extension, notebook):
    source = [notebook.read_text()]
    app = types.SimpleNamespace(
        env=types.SimpleNamespace(doc2path=lambda name: DOCS / f"{name}.ipynb"),
        config=types.SimpleNamespace(repository="owner/name"),
    )
    extension.add_links(app, name_of(notebook), source)
    before, after = json.loads(notebook.read_text())["cells"], json.loads(source[0])["cells"]
    assert after[1]["source"] == extension.links("owner/name", name_of(notebook))
    assert [after[0], *after[2:]] == before


def test_its_code_compiles(notebook):
    code = cells(notebook, "code")
    assert len(code) > 3
    for i, text in enumerate(code):
        compile(text, f"{notebook.name}, code cell {i}", "exec")


def test_the_loop_is_that_of_the_example():
    def functions(text: str) -> dict[str, str]:
        return {node.name: ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}

    example = functions(EXAMPLE)
    mine = functions("\n".join(cells(DOCS / "tutorials/custom-loop.ipynb", "code")))
    assert mine == {name: example[name] for name in ("make_views", "compactness", "score")}


@pytest.mark.slow
def test_one_runs(monkeypatch, capsys):
    """The quickest; the build of the site runs all of them."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    names: dict = {}
    for i, text in enumerate(cells(DOCS / f"{QUICKEST}.ipynb", "code")):
        exec(compile(text, f"code cell {i}", "exec"), names)
    pyplot.close("all")
    assert capsys.readouterr().out
    assert len(names["measured"]) == len(names["alphas"])
