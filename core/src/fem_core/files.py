"""Reading and writing files by their ending."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fem_core.atomic import replacing
from fem_core.boundaries import TOLERANCE, with_boundaries
from fem_core.errors import FemError, MeshError
from fem_core.formats import MeshFormat, ResultWriter, choose, csv, hdf5, npz_results, vtu
from fem_core.geometry import validate_mesh
from fem_core.mesh import Mesh
from fem_core.registry import REGISTRY

if TYPE_CHECKING:
    from fem_core.solution import Solution

_SUFFIXES = (".h5", ".hdf5")
_MESH = MeshFormat(_SUFFIXES, "HDF5 with x, y, quad8 and named boundaries", hdf5.read, hdf5.write_mesh)
_RESULTS = (
    ResultWriter(_SUFFIXES, "HDF5: all there is, for ParaView too", hdf5.write_result, hdf5.read_result),
    ResultWriter((".vtu",), "VTU: grid and fields, for ParaView", vtu.write_result),
    ResultWriter((".npz",), "NumPy: arrays by name", npz_results.write_result),
    ResultWriter((".csv",), "CSV: a row per element", csv.write_elements),
    ResultWriter((".nodes.csv",), "CSV: a row per node", csv.write_nodes),
)


def mesh_formats() -> list[MeshFormat]:
    """The core's and the plugins' mesh formats; the core's come first."""
    return [_MESH, *REGISTRY.extensions("fem_mesh_readers")]


def result_writers() -> list[ResultWriter]:
    """The core's and the plugins' result formats; the core's come first."""
    return [*_RESULTS, *REGISTRY.extensions("fem_result_writers")]


def read_mesh(path: str | Path, *, boundary_tolerance: float = TOLERANCE) -> Mesh:
    """Read, validate and complete a mesh: boundaries that the file doesn't name are found by position.

    Raises MeshError, one line that names the file and the elements or nodes.
    """
    path = Path(path)
    reader = choose(mesh_formats(), path, MeshError)
    try:
        mesh = reader.read(path)
    except FemError:
        raise
    except Exception as error:
        raise MeshError(f"{path}: can't be read: {type(error).__name__}: {error}") from error
    if not isinstance(mesh, Mesh):
        raise MeshError(f"{path}: the reader for {path.suffix} returned a {type(mesh).__name__}, not a Mesh")
    return with_boundaries(mesh, boundary_tolerance)


def write_mesh(mesh: Mesh, path: str | Path) -> Path:
    """Write a mesh with its named boundaries; the file appears whole or not at all."""
    path = Path(path)
    able = [known for known in mesh_formats() if known.write]
    write = choose(able, path, MeshError).write
    assert write
    with replacing(path) as temporary:
        write(mesh, temporary)
    return path


def write_result(solution: "Solution", path: Path) -> Path:
    """Write a solution; the file appears whole or not at all."""
    writer = choose(result_writers(), path, FemError)
    with replacing(path) as temporary:
        try:
            writer.write(solution, temporary)
        except (FemError, OSError):
            raise
        except Exception as error:
            raise FemError(f"{path}: can't be written: {type(error).__name__}: {error}") from error
    return path


def read_result(path: Path) -> dict[str, Any]:
    """The arguments of the `Solution` in a result file, once its mesh is valid and problem and fields fit it.

    Raises FemError, one line that names the file.
    """
    able = [known for known in result_writers() if known.read]
    read = choose(able, path, FemError).read
    assert read
    try:
        found = dict(read(path))
        mesh = found["mesh"] = validate_mesh(found["mesh"])
        found["problem"] = found["problem"].on(mesh)
        n, m = mesh.n_nodes, mesh.n_elements
        for name, shape in (("u", (n,)), ("velocity", (m, 2)), ("speed", (m,)), ("pressure", (m,))):
            field = found[name] = np.asarray(found[name], dtype=np.float64)
            if field.shape != shape:
                raise FemError(f"{path}: {name!r} has shape {field.shape}, the mesh wants {shape}")
    except FemError:
        raise
    except Exception as error:
        raise FemError(f"{path}: can't be read: {type(error).__name__}: {error}") from error
    return found
