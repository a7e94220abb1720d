"""HDF5: meshes with `x`, `y`, `quad8` at the root, and results beside the mesh in the same file.

Named boundaries are groups `boundaries/NAME` with `edges` and `nodes`; a result adds the group
`solution` (u, velocity, speed, pressure) with the report as a JSON attribute. A result file can
therefore be read as a mesh again.

Files are taken from strangers: links out of the file, external or virtual storage and datasets far
larger than what is stored for them are refused before anything is read.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.formats.checks import check_claim
from fem_core.mesh import Boundary, Mesh
from fem_core.results import to_json

if TYPE_CHECKING:
    from fem_core.solution import Solution


def read(path: Path) -> Mesh:
    """The mesh in an HDF5 file. Raises MeshError naming the file and what was found."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise MeshError(f"{path}: there is no such file; `fem mesh` makes one") from None
    except OSError as error:
        raise MeshError(f"{path}: not a readable HDF5 file ({_first_line(error)})") from None
    with file:
        try:
            found = {name: _dataset(file, name, path) for name in ("x", "y", "quad8")}
            return Mesh(**found, boundaries=_boundaries(file, path), source=path.name)
        except MeshError as error:
            text = str(error).removeprefix(f"{path.name}: ")
            raise MeshError(text if text.startswith(str(path)) else f"{path}: {text}") from None
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
            raise MeshError(f"{path}: damaged HDF5 file ({_first_line(error)})") from None


def _boundaries(file: Any, path: Path) -> dict[str, Boundary]:
    if "boundaries" not in file:
        return {}
    group = _group(file, "boundaries", path)
    boundaries, total = {}, 0
    for name in group:
        member = _group(group, name, path)
        edges, nodes = _dataset(member, "edges", path), _dataset(member, "nodes", path)
        total += edges.nbytes + nodes.nbytes  # many small ones are large as well
        check_claim(path, "'boundaries'", total, path.stat().st_size)
        boundaries[name] = Boundary(edges, nodes)
    return boundaries


def _hard(group: Any, name: str, path: Path) -> Any:
    """A member of `group` that is stored in this very file."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        raise MeshError(f"{path}: there is no {name!r} in {group.name!r}; found: {', '.join(group) or 'nothing'}")
    if not isinstance(link, h5py.HardLink):
        raise MeshError(f"{path}: {name!r} is a link, which is not followed; store the data itself")
    return group[name]


def _group(parent: Any, name: str, path: Path) -> Any:
    import h5py

    group = _hard(parent, name, path)
    if not isinstance(group, h5py.Group):
        raise MeshError(f"{path}: {name!r} is not a group")
    return group


def _dataset(group: Any, name: str, path: Path) -> Any:
    import h5py

    data = _hard(group, name, path)
    if not isinstance(data, h5py.Dataset):
        raise MeshError(f"{path}: {name!r} is not a dataset")
    if data.is_virtual or data.external:
        raise MeshError(f"{path}: {name!r} is stored outside this file, which is not followed")
    if data.dtype.kind not in "iuf" or data.shape is None:
        raise MeshError(f"{path}: {name!r} must hold numbers, not {data.dtype}")
    stored = data.id.get_storage_size()
    for what, items in (("claims", data.size), ("has chunks of", math.prod(data.chunks or ()))):
        # a chunk is unpacked as a whole
        check_claim(path, repr(name), items * data.dtype.itemsize, stored, what)
    values = data[()]
    if isinstance(values, np.ndarray):
        values.flags.writeable = False  # nobody else has it: the mesh takes it as it is
    return values


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def _new(path: Path) -> Iterator[Any]:
    """A file that is made in memory and written to `path` when the block succeeds.

    On a full disk HDF5 itself fails while it closes the file, and takes the process down with it.
    """
    import h5py

    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        yield file
    with image.getbuffer() as whole, path.open("wb") as target:
        target.write(whole)


def _write_mesh(file: Any, mesh: Mesh) -> None:
    for name, values in (("x", mesh.x), ("y", mesh.y), ("quad8", mesh.quad8)):
        file[name] = values
    for name, boundary in mesh.boundaries.items():
        group = file.create_group(f"boundaries/{name}")
        group["edges"], group["nodes"] = boundary.edges, boundary.nodes


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write `mesh` with its named boundaries."""
    with _new(path) as file:
        _write_mesh(file, mesh)


def write_result(solution: "Solution", path: Path) -> None:
    """Write the mesh, the fields and the report."""
    with _new(path) as file:
        _write_mesh(file, solution.mesh)
        group = file.create_group("solution")
        for name in ("u", "velocity", "speed", "pressure"):
            group[name] = getattr(solution, name)
        group.attrs["converged"] = solution.report.converged
        group.attrs["report"] = to_json(solution.report.to_dict())
        group["history"] = np.reshape(np.array(solution.report.history, dtype=np.float64), (-1, 2))
