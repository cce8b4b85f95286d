"""Configuration of the documentation site: `make docs` builds it into docs/_build/html."""

import hashlib
import sys
import typing
from pathlib import Path

import numpy.typing

# Before the first import of the package: names that are shown in place of long definitions.
typing.GENERATING_DOCUMENTATION = "heliostat"  # read by jaxtyping, which then omits its own name
numpy.typing.ArrayLike = type("ArrayLike", (), {"__module__": "builtins"})
ScenarioLike = type("ScenarioLike", (), {"__module__": "builtins"})

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # the package `generate`

import heliostat
from generate import gallery
from generate.command_line import command_line
from generate.scenario_keys import scenario_keys, units

project = "heliostat"
author = "The heliostat developers"
copyright = author
version = release = heliostat.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "generate"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other packages have no pages here
default_role = "py:obj"

# Pages in Markdown; those with code cells are executed.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
suppress_warnings = ["bibtex.missing_field"]
SOURCE = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted(Path(heliostat.__file__).parent.rglob("*.py")))
).hexdigest()[:16]
"""Outputs of notebooks and figures are kept until the package changes."""
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "notebooks" / SOURCE)
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "warn"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # would be fetched from other servers

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_display_short_literal_types = True

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
bibtex_reference_style = "author_year"

html_theme = "pydata_sphinx_theme"
html_title = "heliostat"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        # Wide tables need the space; these pages have a table of contents of their own.
        "reference/scenario-keys": [],
        "reference/command-line": [],
        **{f"gallery/{page}": [] for page in ("index", "localization", "sensing", "beyond")},
    },
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
toc_object_entries_show_parents = "hide"
html_sidebars = {"index": []}
html_show_sourcelink = html_copy_source = False

GENERATED = {
    "reference/scenario-keys": {
        "<!-- keys: localization -->": lambda: scenario_keys("localization"),
        "<!-- keys: sensing -->": lambda: scenario_keys("sensing"),
        "<!-- units -->": units,
    },
    "reference/command-line": {"<!-- commands -->": command_line},
}
"""Text that replaces a comment of a page."""


def fill(app, docname, source):
    """Replace the comments of a page by the text generated for them."""
    for comment, generated in GENERATED.get(docname, {}).items():
        assert comment in source[0], f"{docname} has no {comment}"
        source[0] = source[0].replace(comment, generated())
    if docname.startswith("gallery/"):
        source[0] = gallery.filled(source[0], DOCS / "_build" / "gallery" / SOURCE)


def outdated(app, env, added, changed, removed):
    """Read the generated pages each time: they depend on the package, not on a file."""
    return sorted({*GENERATED, *(d for d in env.found_docs if d.startswith("gallery/"))})


def accept_any_scenario(app, function, bound_method):
    """Show what public functions accept, not the type that they pass on."""
    if hasattr(function, "__wrapped__") and "scenario" in function.__annotations__:
        function.__annotations__ = {**function.__annotations__, "scenario": ScenarioLike}


def setup(app):
    """Register the handlers above."""
    # It copies files after the build, which is safe, but does not declare so.
    copies = app.extensions["sphinx-mathjax-offline"]
    copies.parallel_read_safe = copies.parallel_write_safe = True
    app.connect("autodoc-before-process-signature", accept_any_scenario)
    app.connect("source-read", fill)
    app.connect("env-get-outdated", outdated)
