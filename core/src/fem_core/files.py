"""Reading and writing files by their ending."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fem_core.atomic import replacing
from fem_core.boundaries import TOLERANCE, with_boundaries
from fem_core.errors import FemError, MeshError
from fem_core.formats import (
    MeshFormat,
    ResultWriter,
    abaqus,
    choose,
    csv,
    hdf5,
    msh,
    npz,
    vtu,
    vtu_mesh,
    xlsx,
)
from fem_core.geometry import validate_mesh
from fem_core.mesh import Mesh
from fem_core.registry import REGISTRY

if TYPE_CHECKING:
    from fem_core.solution import Solution

T = TypeVar("T")

_SUFFIXES = (".h5", ".hdf5")
_MESH = MeshFormat(_SUFFIXES, "HDF5 with x, y, quad8 and named boundaries", hdf5.read, hdf5.write_mesh)
_MORE_MESHES = (
    MeshFormat((".npz",), "NumPy: x, y, quad8 and named boundaries", npz.read, npz.write),
    MeshFormat((".msh",), "gmsh 2.2 and 4.1: physical groups are boundaries", msh.read, msh.write),
    MeshFormat((".vtu",), "VTU: for ParaView, PyVista and meshio", vtu_mesh.read, vtu_mesh.write),
    MeshFormat((".inp",), "Abaqus: sets and surfaces are boundaries", abaqus.read, abaqus.write),
    MeshFormat((".xlsx",), "Excel: sheets coord (in mm) and conec (the extra xlsx)", xlsx.read, xlsx.write),
)
_RESULTS = (
    ResultWriter(_SUFFIXES, "HDF5: all there is, for ParaView too", hdf5.write_result, hdf5.read_result),
    ResultWriter((".vtu",), "VTU: grid and fields, for ParaView", vtu.write_result),
    ResultWriter((".npz",), "NumPy: arrays by name", npz.write_result),
    ResultWriter((".csv",), "CSV: a row per element", csv.write_elements),
    ResultWriter((".nodes.csv",), "CSV: a row per node", csv.write_nodes),
)


def mesh_formats() -> list[MeshFormat]:
    """The core's and the plugins' mesh formats; the core's come first."""
    return [_MESH, *_MORE_MESHES, *REGISTRY.extensions("fem_mesh_readers")]


def result_writers() -> list[ResultWriter]:
    """The core's and the plugins' result formats; the core's come first."""
    return [*_RESULTS, *REGISTRY.extensions("fem_result_writers")]


def read_mesh(path: str | Path, *, boundary_tolerance: float = TOLERANCE) -> Mesh:
    """Read, validate and complete a mesh: boundaries that the file doesn't name are found by position.

    Raises MeshError, one line that names the file and the elements or nodes.
    """
    return with_boundaries(read_unvalidated(Path(path)), boundary_tolerance)


def reading(path: Path, boundary_tolerance: float = TOLERANCE) -> Future[Mesh]:
    """`read_mesh` in a thread of its own, which ends with it."""
    thread = ThreadPoolExecutor(1, "fem-read")
    mesh = thread.submit(read_mesh, path, boundary_tolerance=boundary_tolerance)
    thread.shutdown(wait=False)
    return mesh


def read_unvalidated(path: Path) -> Mesh:
    """The mesh as the file has it, which may not be valid. Raises MeshError where there is none."""
    reader = choose(mesh_formats(), path, MeshError)
    with _reading(path, MeshError, "fem mesh"):
        mesh = reader.read(path)
    if not isinstance(mesh, Mesh):
        raise MeshError(f"{path}: the reader for {path.suffix} returned a {type(mesh).__name__}, not a Mesh")
    return mesh


@contextmanager
def _reading(path: Path, kind: type[FemError], made_by: str) -> Iterator[None]:
    """Errors of a reader as one line that names the file, `kind` where the reader didn't foresee them."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise kind(f"{path}: not a file")
    try:
        yield
    except MeshError as error:  # of the mesh itself, which knows the file's name at most
        text = str(error).removeprefix(f"{path.name}: ")
        raise MeshError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except (FemError, MemoryError):
        raise
    except FileNotFoundError:
        raise kind(f"{path}: there is no such file; `{made_by}` makes one") from None
    except OSError as error:
        raise kind(f"{path}: can't be read: {os.strerror(error.errno) if error.errno else error}") from error
    except (Exception, SystemExit) as error:  # some libraries leave the interpreter over a bad file
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise kind(f"{path}: can't be read: {text}") from error


def write_mesh(mesh: Mesh, path: str | Path) -> Path:
    """Write a mesh with its named boundaries; the file appears whole or not at all."""
    path = Path(path)
    able = [known for known in mesh_formats() if known.write]
    write = choose(able, path, MeshError).write
    assert write
    return _write(write, mesh, path)


def write_result(solution: "Solution", path: Path) -> Path:
    """Write a solution; the file appears whole or not at all."""
    writer = choose(result_writers(), path, FemError)
    return _write(writer.write, solution, path)


def _write(write: Callable[[T, Path], None], what: T, path: Path) -> Path:
    with replacing(path) as temporary:
        try:
            write(what, temporary)
        except MeshError as error:  # of names, say, that the format can't hold
            raise MeshError(f"{path}: {error}") from None
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
    with _reading(path, FemError, "fem solve MESH --output FILE"):
        found = dict(read(path))
        mesh = found["mesh"] = validate_mesh(found["mesh"])
        found["problem"] = found["problem"].on(mesh)
        n, m = mesh.n_nodes, mesh.n_elements
        for name, shape in (("u", (n,)), ("velocity", (m, 2)), ("speed", (m,)), ("pressure", (m,))):
            field = found[name] = np.asarray(found[name], dtype=np.float64)
            if field.shape != shape:
                raise FemError(f"{path}: {name!r} has shape {field.shape}, the mesh wants {shape}")
    return found
