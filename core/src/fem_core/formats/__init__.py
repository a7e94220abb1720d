"""Mesh and result files, chosen by their ending; more formats come through the extension hooks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fem_core.errors import FemError
from fem_core.mesh import Mesh

if TYPE_CHECKING:
    from fem_core.solution import Solution


@dataclass(frozen=True)
class MeshFormat:
    """A kind of mesh file.

    Parameters
    ----------
    suffixes : tuple of str
        Endings, with the dot.
    summary : str
    read : function of a path
        Returns the mesh as stored; `read_mesh` validates it.
    write : function of a mesh and a path, optional
    """

    suffixes: tuple[str, ...]
    summary: str
    read: Callable[[Path], Mesh]
    write: Callable[[Mesh, Path], None] | None = None


@dataclass(frozen=True)
class ResultWriter:
    """A kind of result file; `write` is given a temporary path that is renamed when it returns."""

    suffixes: tuple[str, ...]
    summary: str
    write: Callable[["Solution", Path], None]


F = TypeVar("F", bound=MeshFormat | ResultWriter)


def choose(formats: Iterable[F], path: Path, error: type[FemError]) -> F:
    """The format for the ending of `path`; refuses others by naming the accepted ones."""
    known: list[str] = []
    for candidate in formats:
        known += candidate.suffixes
        if path.suffix.lower() in candidate.suffixes:
            return candidate
    raise error(f"{path}: unknown ending {path.suffix or '(none)'!r}; known: {', '.join(sorted(known)) or 'none'}")
