"""File formats that a plugin can add; the ending of a file selects the format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fem_core.mesh.cells import Cells
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
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
        Returns the mesh as stored, coordinates in the unit of the file; `read_mesh` validates it.
    write : function of a mesh and a path, optional
        Writes the mesh, whose coordinates are in the unit of the file.
    problem : function of a path, optional
        Returns the problem that is stored with the mesh; None if the file is only a mesh.
    cells : function of a path, optional
        Returns all cells of a file, also those that `read` refuses, for `fem convert`.
    unit : float
        The unit of the coordinates in the file, in metres. `scale` (`--scale`) replaces it for one reading.
    """

    suffixes: tuple[str, ...]
    summary: str
    read: Callable[[Path], Mesh]
    write: Callable[[Mesh, Path], None] | None = None
    problem: Callable[[Path], Problem | None] | None = None
    cells: Callable[[Path], Cells] | None = None
    unit: float = 1.0


@dataclass(frozen=True)
class ResultWriter:
    """A kind of result file.

    Parameters
    ----------
    suffixes : tuple of str
        Endings, with the dot.
    summary : str
    write : function of a solution and a path
        Writes to a temporary path; the file is renamed after that.
    read : function of a path, optional
        Returns the arguments of `Fields`, for `read_solution`.
    """

    suffixes: tuple[str, ...]
    summary: str
    write: Callable[[Fields, Path], None]
    read: Callable[[Path], Mapping[str, Any]] | None = None
