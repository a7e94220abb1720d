"""Checks that worker processes can import a function, and the main script."""

import ast
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from fem_core.errors import BackendError

_REMEDY = "define it with `def` at the top level of a module that can be imported"


def require_importable(function: Callable[..., Any]) -> None:
    """Raise BackendError with the remedy unless another process can import `function` by its name.

    >>> require_importable(lambda item: item)
    Traceback (most recent call last):
    fem_core.errors.BackendError: a lambda can't be sent to a worker process; define it with `def` at the top level of \
a module that can be imported
    """
    if isinstance(function, partial):
        require_importable(function.func)
        return
    name = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if name is None:
        raise BackendError(f"a {type(function).__name__} can't be sent to a worker process; {_REMEDY}")
    if name.endswith("<lambda>"):
        raise BackendError(f"a lambda can't be sent to a worker process; {_REMEDY}")
    if "<locals>" in name:
        raise BackendError(f"{name} is defined inside a function, so a worker process can't import it; {_REMEDY}")
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function and getattr(function, "__self__", None) is None:
        raise BackendError(f"{module}.{name} can't be imported by this name in a worker process; {_REMEDY}")
    if module == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        raise BackendError(f"{name} was defined interactively, so a worker process can't import it; {_REMEDY}")


def require_guarded_main() -> None:
    """Raise BackendError if worker processes would run the main script's own work again.

    Under spawn and forkserver each worker imports the main script. If that starts workers at its
    top level, they can't start.
    """
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    line = _line_at_top_level(main)
    if path is None or line is None:
        return
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return  # no script that a worker could run
    if not any(node.lineno <= line <= (node.end_lineno or 0) for node in tree.body if _is_guard(node)):
        raise BackendError(
            f"{path}, line {line}, starts worker processes, and each worker would run it again; put the "
            'statements of the script under `if __name__ == "__main__":`'
        )


def _line_at_top_level(main: object) -> int | None:
    """The line of the main script's top level that led here; None if nothing there did."""
    frame: FrameType | None = sys._getframe()
    while frame:
        if frame.f_code.co_name == "<module>" and frame.f_globals is getattr(main, "__dict__", None):
            return frame.f_lineno
        frame = frame.f_back
    return None


def _is_guard(node: ast.stmt) -> bool:
    """Whether it is an `if` that tells the script from its copies in workers."""
    if not isinstance(node, ast.If):
        return False
    names = {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node.test)}
    return bool(names & {"__name__", "parent_process"})
