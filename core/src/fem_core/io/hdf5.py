"""HDF5: meshes with `x`, `y`, `quad8` at the root, and results beside the mesh in the same file.

Named boundaries are groups `boundaries/NAME` with `edges` and `nodes`. The attribute `slits` at the root says that
coincident edges are intended (`Mesh.slits`). A result also has the group `solution` (u, velocity, speed, pressure, the
problem; version and report as attributes), and the group `VTKHDF` for ParaView. It can still be read as a mesh.

Files may come from anyone. Links, external or virtual storage, and datasets that are much larger than their stored
bytes are refused before anything is read.
"""

import io
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from fem_core.errors import FemError, MeshError
from fem_core.io import vtk
from fem_core.io.checks import check_claim, check_z, lacks, unread
from fem_core.mesh.mesh import NO_NAME, Boundary, Mesh
from fem_core.problem import Dirichlet, Fluid, Problem, Robin, nodal_values
from fem_core.results import RESULT_VERSION, UNITS, Fields, Report, to_json
from fem_core.support.memory import lacks_memory
from fem_core.support.wording import name_all
from fem_core.types import Floats, Ints, Value

#: What our files have at the root.
_OURS = {"x", "y", "z", "quad8", "slits", "boundaries", "solution", "VTKHDF"}
#: Bytes of an array that is stored beside its name.
_SMALL = 1 << 12


def read(path: Path) -> Mesh:
    """The mesh in an HDF5 file. Raises MeshError with the file and the fault."""
    import h5py

    with _open(path) as file:
        try:
            for name in ("x", "y", "quad8"):
                if file.get(name, getlink=True) is None:
                    raise lacks(path, name, (_described(file, other) for other in file))
            found = {name: _dataset(file, name, path) for name in ("x", "y", "quad8")}
            slits = bool(file.attrs.get("slits", False))
            is_there = isinstance(file.get("z", getlink=True), h5py.HardLink) and isinstance(file["z"], h5py.Dataset)
            notes = check_z(path, found["x"], found["y"], _dataset(file, "z", path) if is_there else None)
            boundaries, nameless = _boundaries(file, path)
            lost = unread(_others(file), found["x"].size, len(np.atleast_1d(found["quad8"]))) | nameless
            return Mesh(**found, boundaries=boundaries, source=path.name, notes=notes, lost=lost, slits=slits)
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise MeshError(f"{path}: damaged HDF5 file ({_first_line(error)})") from None


def _open(path: Path) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno:  # an error of the system, not of the library: for example, no such file
            raise
        raise MeshError(f"{path}: not a readable HDF5 file; it has another format or is incomplete") from None


def _described(group: Any, name: str) -> str:
    """The name of a dataset and its shape, or that it is a group or a link."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return f"{name} (a link)"
    member = group[name]
    return f"{name} {member.shape}" if isinstance(member, h5py.Dataset) else f"{name} (a group)"


def _boundaries(file: Any, path: Path) -> tuple[dict[str, Boundary], dict[str, str]]:
    """The boundaries, and the lost names with the reason."""
    if "boundaries" not in file:
        return {}, {}
    group = _group(file, "boundaries", path)
    boundaries, lost, total, size = {}, {}, 0, path.stat().st_size
    for name in group:
        if isinstance(name, bytes):
            lost[_text(name)] = f"a boundary can't have this name; {NO_NAME}"
            continue
        member = _group(group, name, path, " with the datasets edges and nodes")
        parts = [part for part in ("edges", "nodes") if member.id.links.exists(part.encode())]
        given = {part: _dataset(member, part, path) for part in parts or ("edges",)}
        total += sum(values.nbytes for values in given.values())  # many small ones are large as well
        check_claim(path, "'boundaries'", total, size)
        none = np.empty(0, dtype=np.int32)
        boundaries[name] = Boundary(given.get("edges", none), given.get("nodes", none))
    return boundaries, lost


def _text(name: str | bytes) -> str:
    """The name of a member; h5py gives bytes if it isn't Unicode."""
    return name if isinstance(name, str) else name.decode(errors="backslashreplace")


def _others(file: Any) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """What is in a file or in a group at its root beside what we write: names, kinds of numbers, and shapes."""
    import h5py

    for name in file:
        if name in _OURS:
            continue
        known = isinstance(name, str) and isinstance(file.get(name, getlink=True), h5py.HardLink)
        member = file[name] if known else None
        if isinstance(member, h5py.Dataset):
            yield _text(name), member.dtype.kind, member.shape or ()
            continue
        yield _text(name), "", ()
        yield from ((f"{_text(name)}/{_text(child)}", "", ()) for child in (member or ()))


def _hard(group: Any, name: str, path: Path) -> Any:
    """A member of `group` that is stored in this file."""
    import h5py

    links = group.id.links  # much faster than the classes of links
    if not links.exists(name.encode()):
        raise MeshError(f"{path}: there is no {name!r} in {group.name!r}; found: {name_all(group) or 'nothing'}")
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise MeshError(f"{path}: {name!r} is a link, and links are not read; store the data in the file")
    return group[name]


def _group(parent: Any, name: str, path: Path, what: str = "") -> Any:
    import h5py

    group = _hard(parent, name, path)
    if not isinstance(group, h5py.Group):
        raise MeshError(f"{path}: {name!r} is not a group{what}")
    return group


def _dataset(group: Any, name: str, path: Path) -> Any:
    import h5py

    data = _hard(group, name, path)
    if not isinstance(data, h5py.Dataset):
        raise MeshError(f"{path}: {name!r} is not a dataset")
    layout = data.id.get_create_plist()
    kind = layout.get_layout()
    if kind == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise MeshError(f"{path}: {name!r} is stored in another file, which is not read; store the data in this file")
    dtype, shape = data.dtype, data.shape
    if dtype.kind not in "iuf" or shape is None:
        raise MeshError(f"{path}: {name!r} must hold numbers, not {dtype}")
    stored = data.id.get_storage_size()
    chunk = layout.get_chunk() if kind == h5py.h5d.CHUNKED else ()  # which is unpacked completely
    for what, items in (("claims", math.prod(shape)), ("has chunks of", math.prod(chunk))):
        check_claim(path, repr(name), items * dtype.itemsize, stored, what)
    values = data[()]
    if isinstance(values, np.ndarray):
        values.flags.writeable = False  # nothing else refers to it: the mesh needs no copy
    return values


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


class _New:
    """A file that is being written: HDF5 makes the layout in memory, and Python writes the arrays to the disk.

    On a full disk, HDF5 itself would fail while it closes the file, and end the process.
    """

    def __init__(self, file: Any, target: IO[bytes]) -> None:
        self.file, self._target = file, target
        self._written: list[tuple[int, int]] = []

    def put(self, group: Any, name: str, values: Any) -> Any:
        """Store an array as `name` in `group`."""
        from h5py import h5d, h5p

        values = np.asarray(values, order="C")
        layout = h5p.create(h5p.DATASET_CREATE)
        if values.nbytes < _SMALL:
            layout.set_layout(h5d.COMPACT)
            return group.create_dataset(name, data=values, dcpl=layout)
        layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5d.FILL_TIME_NEVER)
        data = group.create_dataset(name, values.shape, values.dtype, dcpl=layout)
        start = data.id.get_offset()
        self._target.seek(start)
        self._target.write(values)
        self._written.append((start, start + values.nbytes))
        return data

    def finish(self, layout: IO[bytes]) -> None:
        """Write the bytes between the arrays, which HDF5 has made."""
        start, size = 0, max([layout.seek(0, os.SEEK_END), *(after for _, after in self._written)])
        for stop, after in [*sorted(self._written), (size, size)]:
            layout.seek(start)
            self._target.seek(start)
            self._target.write(layout.read(stop - start))
            start = after
        self._target.truncate(size)


@contextmanager
def _new(path: Path) -> Iterator[_New]:
    """A new file; it is complete when the block succeeds."""
    import h5py

    with path.open("wb") as target, _memory() as layout:
        try:
            with h5py.File(layout, "w") as file:
                new = _New(file, target)
                yield new
        except Exception:
            if trouble := getattr(layout, "trouble", None):
                raise trouble from None
            raise
        new.finish(layout)


class _MemoryFile(io.FileIO):
    """A file that keeps its first error: HDF5 goes on without it, and fails with another one."""

    trouble: OSError | None = None

    def write(self, data: Any, /) -> int:
        with self._kept():
            return super().write(data)

    def truncate(self, size: int | None = None, /) -> int:
        with self._kept():
            return super().truncate(size)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.trouble = self.trouble or error
            raise


def _memory() -> IO[bytes]:
    """A file in memory. If the system supports it, gaps in the file need no memory."""
    if sys.platform == "linux":
        with suppress(ImportError, AttributeError, OSError):
            import resource

            if resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY:  # else it limits these, too
                return cast("IO[bytes]", _MemoryFile(os.memfd_create("hdf5"), "w+"))
    return io.BytesIO()


def _write_mesh(new: _New, mesh: Mesh) -> None:
    for name, values in (("x", mesh.x), ("y", mesh.y), ("quad8", mesh.quad8)):
        new.put(new.file, name, values)
    if mesh.slits:
        new.file.attrs["slits"] = True
    for name, boundary in mesh.boundaries.items():
        group = new.file.create_group(f"boundaries/{name}")
        new.put(group, "edges", boundary.edges)
        new.put(group, "nodes", boundary.nodes)


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write `mesh` with its named boundaries."""
    with _new(path) as new:
        _write_mesh(new, mesh)


def write_result(solution: Fields, path: Path) -> None:
    """Write the mesh, the fields, the problem and the report, and the grid for ParaView, which shares the fields."""
    with _new(path) as new:
        _write_mesh(new, solution.mesh)
        group = new.file.create_group("solution")
        group.attrs["version"] = RESULT_VERSION
        for name, units in UNITS.items():
            new.put(group, name, getattr(solution, name)).attrs["units"] = units
        group.attrs["converged"] = solution.report.converged
        group.attrs["report"] = to_json(solution.report.to_dict())
        new.put(group, "history", np.reshape(np.array(solution.report.history, dtype=np.float64), (-1, 2)))
        _write_problem(new, group.create_group("problem"), solution.problem, solution.mesh)
        _write_vtkhdf(new, solution)


def _write_problem(new: _New, group: Any, problem: Problem, mesh: Mesh) -> None:
    """Write the problem; functions are written as their values at the nodes, which are all that a solver uses."""

    def write(group: Any, name: str, value: Value, nodes: Ints) -> None:
        values = nodal_values(value, mesh, nodes, name) if callable(value) else np.asarray(value, dtype=np.float64)
        new.put(group, name, values)

    for number, condition in enumerate(problem.conditions):
        member = group.create_group(f"conditions/{number}")
        member.attrs["kind"], member.attrs["boundary"] = type(condition).__name__, condition.boundary
        for name in ("gamma", "p") if isinstance(condition, Robin) else ("value",):
            write(member, name, getattr(condition, name), mesh.boundaries[condition.boundary].nodes)
    new.put(group, "conductivity", np.asarray(problem.conductivity, dtype=np.float64))
    write(group, "source", problem.source, mesh.used_nodes)
    group.attrs["dirichlet"] = problem.dirichlet
    group.attrs["p0"], group.attrs["rho"] = problem.fluid.p0, problem.fluid.rho


def _write_vtkhdf(new: _New, solution: Fields) -> None:
    """The group for VTK's own reader: https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format."""
    mesh, fields = solution.mesh, new.file["solution"]
    group = new.file.create_group("VTKHDF")
    group.attrs["Version"] = (1, 0)  # enough for a grid in one piece; every later reader knows it
    group.attrs["Type"] = np.bytes_("UnstructuredGrid")
    connectivity, offsets, types = vtk.cells(mesh)
    for name, number in (("Points", mesh.n_nodes), ("Cells", mesh.n_elements), ("ConnectivityIds", connectivity.size)):
        new.put(group, f"NumberOf{name}", np.array([number], dtype=np.int64))
    new.put(group, "Points", vtk.points(mesh))
    for name, values in (("Connectivity", connectivity), ("Offsets", offsets), ("Types", types)):
        new.put(group, name, values)
    group["PointData/u"] = fields["u"]  # a hard link
    for name in ("speed", "pressure"):
        group[f"CellData/{name}"] = fields[name]
    new.put(group, "CellData/velocity", vtk.vectors(solution.velocity))
    new.put(group, "FieldData/converged", np.array([solution.report.converged], dtype=np.int32))


@contextmanager
def _solution(path: Path) -> Iterator[Any]:
    """The group `solution` of a result; None if the file has none. Errors in the block name the file."""
    with _open(path) as file:
        if "solution" not in file:
            yield None
            return
        try:
            group = _group(file, "solution", path)
            version = group.attrs.get("version", 1)  # the first files had no version
            if version != RESULT_VERSION:
                raise FemError(
                    f"{path}: a result of version {version}, but this fem-core reads version {RESULT_VERSION}; "
                    "read it with the fem-core that wrote it, or a newer one"
                )
            yield group
        except FemError:
            raise
        except Exception as error:
            if lacks_memory(error):
                raise
            raise FemError(f"{path}: damaged result ({type(error).__name__}: {_first_line(error)})") from None


def read_problem(path: Path) -> Problem | None:
    """The problem that is stored in a result; None if the file is only a mesh. Raises FemError with the file's name."""
    with _solution(path) as group:
        return None if group is None else _read_problem(_group(group, "problem", path), path)


def read_result(path: Path) -> dict[str, Any]:
    """The data that `write_result` wrote, as the arguments of `Fields`. Raises FemError with the file's name."""
    mesh = read(path)
    with _solution(path) as group:
        if group is None:
            raise FemError(
                f"{path}: this file has a mesh but no solution; make one with `fem solve MESH --output FILE`"
            )
        fields: dict[str, Floats] = {name: _dataset(group, name, path) for name in UNITS}
        history = tuple((int(i), float(r)) for i, r in _dataset(group, "history", path))
        report = Report.from_dict(json.loads(group.attrs["report"]), history)
        problem = _read_problem(_group(group, "problem", path), path)
    return {"mesh": mesh, "problem": problem, **fields, "report": report}


def _read_problem(group: Any, path: Path) -> Problem:
    def read(group: Any, name: str) -> Any:
        value = _dataset(group, name, path)
        return float(value) if np.ndim(value) == 0 else value

    conditions: list[Robin | Dirichlet] = []
    members = _group(group, "conditions", path) if "conditions" in group else {}
    for name in sorted(members, key=int):
        member = _group(members, name, path)
        boundary = member.attrs["boundary"]
        if member.attrs["kind"] == "Robin":
            conditions.append(Robin(boundary, read(member, "gamma"), read(member, "p")))
        else:
            conditions.append(Dirichlet(boundary, read(member, "value")))
    fluid = Fluid(float(group.attrs["p0"]), float(group.attrs["rho"]))
    dirichlet = group.attrs["dirichlet"]
    k, s = read(group, "conductivity"), read(group, "source")
    return Problem(tuple(conditions), k, s, dirichlet, fluid).stored_in(path.name)
