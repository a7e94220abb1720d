"""Mesh and result files, chosen by their ending; more formats come through the extension hooks."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from fem_core.errors import FemError
from fem_core.plugins.formats import MeshFormat, ResultWriter

F = TypeVar("F", bound=MeshFormat | ResultWriter)


def choose(formats: Iterable[F], path: Path, error: type[FemError]) -> F:
    """The format for the ending of `path`, the longest that fits; refuses others by naming the accepted ones."""
    by_suffix: dict[str, F] = {}
    for known in formats:
        for suffix in known.suffixes:
            by_suffix.setdefault(suffix, known)
    name = path.name.lower()
    for suffix in sorted(by_suffix, key=len, reverse=True):
        if path.suffix and name.endswith(suffix):
            return by_suffix[suffix]
    what = f"unknown ending {path.suffix!r}" if path.suffix else "the name has no ending, which tells the format"
    raise error(f"{path}: {what}; known: {', '.join(sorted(by_suffix)) or 'none'}")
