"""Mesh and result files, chosen by their ending; more formats come through the extension hooks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fem_core.errors import FemError
from fem_core.mesh.mesh import Mesh
from fem_core.results import Fields


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
    """A kind of result file.

    Parameters
    ----------
    suffixes : tuple of str
        Endings, with the dot.
    summary : str
    write : function of a solution and a path
        Is given a temporary path, which is renamed when it returns.
    read : function of a path, optional
        Returns the arguments of `Fields`, for `read_solution`.
    """

    suffixes: tuple[str, ...]
    summary: str
    write: Callable[[Fields, Path], None]
    read: Callable[[Path], Mapping[str, Any]] | None = None


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
