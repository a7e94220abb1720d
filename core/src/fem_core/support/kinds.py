"""What is given to a function must be of the kind that it takes: the error says what it is instead, in one line."""

from pathlib import Path
from types import UnionType
from typing import Any

from fem_core.errors import FemError, OptionError

#: The most characters of a value that a message shows.
_SHOWN = 60


def shown(value: object) -> str:
    """`value` as a message shows it: one short line.

    >>> shown({"a": 1}), shown("x" * 99)
    ("{'a': 1}", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…")
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def require(
    value: object,
    kind: "type | UnionType | tuple[Any, ...]",
    what: str,
    error: type[FemError] = OptionError,
    way: str = "",
) -> None:
    """Raise `error` unless `value` is of this kind; `what` tells its name and what it must be, `way` what to do.

    >>> require(3, str, "solver must be a name")
    Traceback (most recent call last):
        ...
    fem_core.errors.OptionError: solver must be a name, not 3
    """
    if not isinstance(value, kind):
        raise error(f"{what}, not {shown(value)}{way and f'; {way}'}")


def path_of(value: object, error: type[FemError]) -> Path:
    """`value` as a path. Raises `error` if it is none."""
    require(value, str | Path, "a file must be given by its path", error)
    return Path(value)  # type: ignore[arg-type]
