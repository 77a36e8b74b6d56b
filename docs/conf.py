"""Configuration of the documentation site: `make docs` builds it into docs/_build/html, without a network."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from unlogit import __version__

project = "unlogit"
author = "The unlogit authors"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "furo"
html_title = "unlogit"
html_show_sphinx = False

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

# Notebooks run when the site is built, in a folder of their own, and a cell that fails fails the build.
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_mime_priority_overrides = [("html", "text/html", 0), ("html", "image/png", 1)]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 90
napoleon_use_ivar = True
default_role = "code"

# The pages are read in the repository too, where these files lie outside of docs/.
PAGES = {
    "RESULTS.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "speed.md",
}
SOURCE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./(?:src|recipes|tests)/[^)]*\)")


def link_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace links to files of the repository by links to their pages, and links to code by their text."""
    text = SOURCE_LINK.sub(r"\1", source[0])
    for file, page in PAGES.items():
        text = text.replace(f"](../{file}", f"]({page}")
    source[0] = text


def escape_stars(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape stars outside of backticks: in docstrings they are patterns such as train-*.parquet, never emphasis."""
    lines[:] = [re.sub(r"(`[^`]*`)|\*", lambda match: match[1] or r"\*", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Register what the pages need."""
    app.connect("autodoc-process-docstring", escape_stars)
    app.connect("source-read", link_pages)
