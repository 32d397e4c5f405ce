"""How the site is built: `make docs`. Every page can be read and searched from disk, and none loads from a network."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["PYTHONPATH"] = str(HERE.parent)  # for the notebooks

from gnl_jax.version import __version__  # noqa: E402

project = "gnl_jax"
author = "The gnl_jax contributors"
repository = os.environ.get("GITHUB_REPOSITORY", "")  # "OWNER/NAME" where GitHub builds the site: links to Colab
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "markup",
    "notebooks",
    "reference_pages",
    "site_checks",
]
suppress_warnings = ["ref.python"]  # a short name in a signature that several modules have: the nearest is linked
exclude_patterns = ["_ext", "_static", "**.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # a notebook on the site was run when the site was built
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds for each cell
nb_merge_streams = True

add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_use_rtype = False
napoleon_use_ivar = True
python_display_short_literal_types = True
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True

html_show_search_summary = False  # taken from the pages, which a browser does not let a page from disk read
html_theme = "furo"
html_title = f"gnl_jax {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
highlight_language = "none"  # most blocks are commands
pygments_style = "friendly"
