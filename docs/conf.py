"""Configuration of the documentation: `nox -s docs` builds it, with warnings as errors."""

import ast
import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

project = "fem-core"
author = "fem-core developers"
copyright = "2026, fem-core developers"
release = version = version_of("fem-core")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx.ext.apidoc",
    "sphinx_click",
]
exclude_patterns = ["_build", "api/modules.rst"]
suppress_warnings = ["ref.python"]  # a name that several modules have, in a signature

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
smartquotes = False  # --nodes is no dash

# One page for each module, from its docstrings; what is re-exported is documented where it is defined.
apidoc_modules = [
    {
        "path": "../core/src/fem_core",
        "destination": "api",
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
]
default_role = "code"  # `name` in a docstring is code, as in Markdown
autodoc_default_options = {"ignore-module-all": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False

html_theme = "furo"
html_title = "fem-core"


def as_written(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Let docstrings say |∇u| and (n, *shape): outside `code` and doctests these mean nothing to reStructuredText."""
    in_doctest = False
    for i, line in enumerate(lines):
        in_doctest = bool(line.strip()) and (in_doctest or line.lstrip().startswith(">>>"))
        if not in_doctest:
            words = re.split(r"(`+[^`]*`+)", line)
            words[::2] = [re.sub(r"[|*]|(?<=\w)_(?!\w)", r"\\\g<0>", text) for text in words[::2]]
            lines[i] = "".join(words)


def commands_as_code(app: Any, context: Any, lines: list[str]) -> None:
    """Show what a command's help indents as it is: sphinx-click makes verses of it, "| " before each line."""
    found: list[str] = []
    code = False
    for line in lines:
        if line.startswith("|  ") and not code:
            found += ["", ".. code-block:: text", ""]
        code = line.startswith("|  ")
        found.append(line.removeprefix("| "))
    lines[:] = found


def with_examples(app: Any, page: str, source: list[str]) -> None:
    """Put all examples on the page `gallery`: what their docstrings say, and the code."""
    if page != "gallery":
        return
    for path in sorted(Path(app.srcdir, "..", "examples").glob("ex*.py")):
        text = path.read_text(encoding="utf-8")
        docstring = ast.parse(text).body[0]
        title, _, physics = ast.get_docstring(ast.parse(text)).partition("\n")
        code = "\n".join(text.splitlines()[docstring.end_lineno :]).strip()
        source[0] += f"\n## {title.removesuffix('.')}\n\n`{path.name}`\n{physics}\n\n```python\n{code}\n```\n"


def setup(app: Any) -> None:
    app.connect("source-read", with_examples)
    app.connect("sphinx-click-process-description", commands_as_code)
    app.connect("autodoc-process-docstring", as_written, priority=400)  # before Napoleon, which writes markup
