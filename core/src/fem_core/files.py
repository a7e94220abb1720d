"""Reading and writing files by their ending."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from fem_core.atomic import replacing
from fem_core.boundaries import TOLERANCE, with_boundaries
from fem_core.errors import FemError, MeshError
from fem_core.formats import MeshFormat, ResultWriter, choose, hdf5
from fem_core.mesh import Mesh
from fem_core.registry import REGISTRY

if TYPE_CHECKING:
    from fem_core.solution import Solution

_SUFFIXES = (".h5", ".hdf5")
_MESH = MeshFormat(_SUFFIXES, "HDF5 with x, y, quad8 and named boundaries", hdf5.read, hdf5.write_mesh)
_RESULT = ResultWriter(_SUFFIXES, "HDF5: mesh, fields and report", hdf5.write_result)


def mesh_formats() -> list[MeshFormat]:
    """The core's and the plugins' mesh formats; the core's come first."""
    return [_MESH, *REGISTRY.extensions("fem_mesh_readers")]


def result_writers() -> list[ResultWriter]:
    """The core's and the plugins' result formats; the core's come first."""
    return [_RESULT, *REGISTRY.extensions("fem_result_writers")]


def read_mesh(path: str | Path, *, boundary_tolerance: float = TOLERANCE) -> Mesh:
    """Read, validate and complete a mesh: boundaries that the file doesn't name are found by position.

    Raises MeshError, one line that names the file and the elements or nodes.
    """
    path = Path(path)
    reader = cast(MeshFormat, choose(mesh_formats(), path, MeshError))
    return with_boundaries(reader.read(path), boundary_tolerance)


def write_mesh(mesh: Mesh, path: str | Path) -> Path:
    """Write a mesh with its named boundaries; the file appears whole or not at all."""
    path = Path(path)
    able = [known for known in mesh_formats() if known.write]
    write = cast(MeshFormat, choose(able, path, MeshError)).write
    assert write
    with replacing(path) as temporary:
        write(mesh, temporary)
    return path


def write_result(solution: "Solution", path: Path) -> Path:
    """Write a solution; the file appears whole or not at all."""
    writer = cast(ResultWriter, choose(result_writers(), path, FemError))
    with replacing(path) as temporary:
        writer.write(solution, temporary)
    return path
