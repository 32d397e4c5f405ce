"""Below the title of each notebook: links to download it and, on GitHub, to open it in Colab."""

import json
from pathlib import Path

COLAB = "https://colab.research.google.com/github"


def colab_link(repository: str, name: str) -> str:
    """Where Colab opens a notebook.

    Args:
        repository: "OWNER/NAME" on GitHub.
        name: of the notebook below docs/, without its ending.
    """
    return f"{COLAB}/{repository}/blob/main/docs/{name}.ipynb"


def links(repository: str, name: str) -> str:
    """The line of links, as Markdown; without a repository there is nothing that Colab could open."""
    file = f"{name.rpartition('/')[2]}.ipynb"
    download = f"{{download}}`Download this notebook <{file}>`"
    if not repository:
        return download
    install = f"`%pip install git+https://github.com/{repository}`"
    return f"{download} or [open it in Colab]({colab_link(repository, name)}) (run {install} there first)"


def add_links(app, name: str, source: list[str]) -> None:
    """Adds the links when Sphinx reads a notebook."""
    if Path(app.env.doc2path(name)).suffix == ".ipynb":
        notebook = json.loads(source[0])
        cell = {"cell_type": "markdown", "id": "links", "metadata": {}, "source": links(app.config.repository, name)}
        notebook["cells"].insert(1, cell)
        source[0] = json.dumps(notebook)


def setup(app) -> dict:
    app.add_config_value("repository", "", "env")
    app.connect("source-read", add_links)
    return {"parallel_read_safe": True}
