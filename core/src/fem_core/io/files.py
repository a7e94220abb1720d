"""Reading and writing files by their ending."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np

from fem_core.errors import FemError, MeshError, OptionError
from fem_core.io import others
from fem_core.io.checks import convert_command, is_plain
from fem_core.mesh.boundaries import with_boundaries
from fem_core.mesh.cells import Cells
from fem_core.mesh.geometry import validate_mesh
from fem_core.mesh.mesh import SAME_PLACE, Boundary, Mesh
from fem_core.mesh.repair import Slits, with_slits
from fem_core.plugins.formats import MeshFormat, ResultWriter
from fem_core.plugins.registry import REGISTRY
from fem_core.problem import Problem
from fem_core.results import Fields
from fem_core.support.atomic import replacing
from fem_core.support.kinds import path_of, require
from fem_core.support.memory import lacks_memory, not_enough
from fem_core.support.outputs import check_output
from fem_core.support.threads import start
from fem_core.support.wording import nearest

T = TypeVar("T")
F = TypeVar("F", bound=MeshFormat | ResultWriter)
M = TypeVar("M", Mesh, Cells)


def mesh_formats() -> list[MeshFormat]:
    """The core's and the plugins' mesh formats; the core's come first."""
    return REGISTRY.extensions("fem_mesh_readers")


def result_writers() -> list[ResultWriter]:
    """The core's and the plugins' result formats; the core's come first."""
    return REGISTRY.extensions("fem_result_writers")


def choose(formats: Iterable[F], path: Path, error: type[FemError]) -> F:
    """The format for the ending of `path` (the longest one that fits). The error for others lists the known endings."""
    by_suffix: dict[str, F] = {}
    for known in formats:
        for suffix in known.suffixes:
            by_suffix.setdefault(suffix, known)
    name = path.name.lower()
    for suffix in sorted(by_suffix, key=len, reverse=True):
        if path.suffix and name.endswith(suffix):
            return by_suffix[suffix]
    what = f"unknown ending {path.suffix!r}" if path.suffix else "the name has no ending, so the format is unknown"
    raise error(f"{path}: {what}; known: {', '.join(sorted(by_suffix)) or 'none'}")


class ReadOptions(TypedDict, total=False):
    """The options for reading a mesh file.

    boundary_tolerance, by_position: see `with_boundaries`. scale: coordinates in the file x scale = metres; by
    default the format decides, 0.001 for Excel and 1 for the others. slits: see `with_slits`.
    """

    boundary_tolerance: float
    by_position: bool
    scale: float | None
    slits: Slits


def read_mesh(path: str | Path, **options: Unpack[ReadOptions]) -> Mesh:
    """Read and validate a mesh, and complete its boundaries; they are found by position if the file names none.

    `options` are those of `ReadOptions`. Raises MeshError; its message is one line with the file and the elements or
    nodes.
    """
    return completed(read_unvalidated(path_of(path, MeshError), options.get("scale")), options)


def completed(mesh: Mesh, options: ReadOptions) -> Mesh:
    """The validated mesh with its boundaries, as `options` say."""
    tolerance, by_position = options.get("boundary_tolerance", SAME_PLACE), options.get("by_position", False)
    return with_boundaries(with_slits(mesh, options.get("slits")), tolerance, by_position=by_position)


def read_problem(path: str | Path) -> Problem | None:
    """The problem that is stored in a result file; None if the file is only a mesh, or doesn't exist."""
    path = Path(path)
    if not path.is_file():
        return None  # reading the mesh says so
    stored = _format(path, mesh_formats(), MeshError, "mesh").problem
    if stored is None:
        return None
    with _reading(path, FemError, "fem mesh"):
        return stored(path)


#: Names of units, by their length in metres.
UNITS = {1e-3: "millimetres", 1e-2: "centimetres", 0.0254: "inches", 0.3048: "feet"}


def check_scale(scale: float) -> None:
    """Raise OptionError unless coordinates can be multiplied by `scale`."""
    if isinstance(scale, bool) or not (isinstance(scale, int | float) and 0 < scale <= sys.float_info.max):
        raise OptionError(f"scale must be a finite number above 0, not {scale!r:.40}")


def _scaled(mesh: M, scale: float) -> M:
    """`mesh` with coordinates x `scale`; a whole 1 / scale is used as divisor, so that 1 mm is exactly 0.001 m."""
    whole = (1 / scale).is_integer()
    with np.errstate(all="ignore"):  # validation refuses values that aren't finite
        x, y = (values / (1 / scale) if whole else values * scale for values in (mesh.x, mesh.y))
    return replace(mesh, x=x, y=y)


#: The name of the thread of `reading`.
READER = "fem-read"


def reading(path: Path, options: ReadOptions) -> Future[Mesh] | Path:
    """`read_mesh` in a separate thread, READER. The interpreter doesn't wait for it when it ends.

    The path itself if no thread can start: the mesh is read when it is needed.
    """
    mesh: Future[Mesh] = Future()

    def read() -> None:
        try:
            mesh.set_result(read_mesh(path, **options))
        except BaseException as error:
            mesh.set_exception(error)

    return mesh if start(read, READER) else path


def unvalidated(source: Mesh | str | Path, options: ReadOptions) -> Mesh:
    """The given mesh, or the mesh in a file. Raises OptionError if `scale` is given without a file."""
    if not isinstance(source, Mesh):
        return read_unvalidated(Path(source), options.get("scale"))
    if options.get("scale") is not None:
        raise OptionError("scale is for a mesh file; a Mesh is in metres already; leave scale out")
    return source


def read_unvalidated(path: Path, scale: float | None = None) -> Mesh:
    """The mesh in a file, in metres, without validation. Raises MeshError if there is none."""
    reader = _format(path, mesh_formats(), MeshError, "mesh")
    if scale is not None:
        _check_scale_of(path, scale)
    with _reading(path, MeshError, "fem mesh"):
        mesh = reader.read(path)
    if not isinstance(mesh, Mesh):
        raise MeshError(f"{path}: the reader for {path.suffix} returned a {type(mesh).__name__}, not a Mesh")
    return _in_metres(mesh, reader.unit, scale)


def read_cells(path: Path, scale: float | None = None) -> Cells:
    """All cells in a file, of any kind that can be converted, in metres: by our readers, else by meshio."""
    ours = tuple(suffix for known in mesh_formats() for suffix in known.suffixes)
    name = path.name.lower()
    theirs = () if name.endswith(ours) else others.endings()  # which imports meshio
    if not name.endswith(ours) and (path.is_file() or name.endswith(theirs)):
        if theirs and not name.endswith(theirs):
            raise MeshError(f"{path}: unknown ending {path.suffix!r}; known: {', '.join(sorted({*ours, *theirs}))}")
        if scale is not None:
            check_scale(scale)
        with _reading(path, MeshError, "fem mesh"):
            return _in_metres(others.read_cells(path), 1.0, scale)
    reader = _format(path, mesh_formats(), MeshError, "mesh")
    if scale is not None:
        _check_scale_of(path, scale)
    with _reading(path, MeshError, "fem mesh"):
        cells = reader.cells(path) if reader.cells else Cells.of(reader.read(path))
    return _in_metres(cells, reader.unit, scale)


def _check_scale_of(path: Path, scale: float) -> None:
    check_scale(scale)
    if read_problem(path):
        raise OptionError(f"{path}: a result is in metres, as is the problem that is stored in it; leave scale out")


def _in_metres(mesh: M, unit: float, scale: float | None) -> M:
    """`mesh` with coordinates in metres: in the unit of its format, which a note tells, or as `scale` says."""
    factor = unit if scale is None else float(scale)
    if factor == 1:
        return mesh
    if scale is None:
        assumed = f"coordinates read as {UNITS.get(factor, f'{factor:g} m')} (--scale 1 for metres)"
        mesh = replace(mesh, notes=(*mesh.notes, assumed))
    return _scaled(mesh, factor)


def _format(path: Path, formats: Sequence[F], kind: type[FemError], what: str) -> F:
    """The format for the ending of `path`. If the file doesn't exist, the error names a similar file."""
    endings = tuple(suffix for known in formats for suffix in known.suffixes)
    folder = path.parent
    if os.path.isdir(path):
        inside = _files(path, endings)
        way = f"such as {path / inside[0]}" if inside else f"which ends in {', '.join(endings)}"
        raise kind(f"{path}: this is a folder; give the name of a {what} file, {way}")
    if not os.path.exists(path):
        if str(path) == "-":
            raise kind(
                f"-: a {what} can't be read from stdin; give the name of a file that ends in {', '.join(endings)}"
            )
        if not os.path.isdir(folder):
            raise kind(f"{path}: neither this file nor the folder {str(folder)!r} exists")
        stems = {Path(name).stem.casefold(): name for name in reversed(_files(folder, endings))}
        if near := nearest(path.stem.casefold(), stems, cutoff=0.7):
            raise kind(f"{path}: this file doesn't exist; did you mean {folder / stems[near]}?")
    name = path.name.lower()
    if what == "mesh" and name.endswith(".csv") and not name.endswith(endings):
        raise kind(f"{path}: a table of results contains no mesh; mesh files end in {', '.join(endings)}")
    try:
        return choose(formats, path, kind)
    except FemError as error:
        if what == "mesh" and os.path.exists(path) and name.endswith(others.endings()):
            raise kind(f"{path}: this format can only be converted: {convert_command(path)}") from error
        raise


def _files(folder: Path, endings: tuple[str, ...]) -> list[str]:
    """The sorted names of the files in a folder with one of these endings; none if the folder can't be read."""
    try:
        return sorted(one.name for one in os.scandir(folder) if one.name.lower().endswith(endings) and one.is_file())
    except OSError:
        return []


@contextmanager
def _reading(path: Path, kind: type[FemError], made_by: str) -> Iterator[None]:
    """Turn errors of a reader into one line that names the file; unexpected errors become `kind`."""
    if os.path.exists(path) and not os.path.isfile(path):  # reading from a pipe would wait forever
        raise kind(f"{path}: not a file")
    try:
        if not path.stat().st_size:
            raise kind(f"{path}: the file is empty; make one with `{made_by}`")
        yield
    except MeshError as error:  # an error of the mesh itself may lack the file's name
        text = str(error).removeprefix(f"{path.name}: ")
        raise MeshError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except FemError:
        raise
    except FileNotFoundError:
        raise kind(f"{path}: this file doesn't exist; make one with `{made_by}`") from None
    except OSError as error:
        if lacks_memory(error):
            raise not_enough(f"{path}: can't be read", error) from error
        raise kind(f"{path}: can't be read: {os.strerror(error.errno) if error.errno else error}") from error
    except (Exception, SystemExit) as error:  # some libraries call sys.exit() for a bad file
        if lacks_memory(error):
            raise not_enough(f"{path}: can't be read", error) from error
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise kind(f"{path}: can't be read: {text}") from error


_NOTHING = np.empty((0, 3), dtype=np.int32), np.empty(0, dtype=np.int32)


def write_mesh(mesh: Mesh, path: str | Path) -> Path:
    """Write a mesh with its named boundaries. The file is written completely or not at all.

    Lost names are written as empty boundaries, so that the file is not read as a mesh without names.
    """
    require(mesh, Mesh, "mesh must be a fem_core.Mesh", MeshError)
    path = path_of(path, MeshError)
    if lost := {name: Boundary(*_NOTHING) for name in mesh.lost if name not in mesh.boundaries and is_plain(name)}:
        mesh = replace(mesh, boundaries={**mesh.boundaries, **lost})
    able = [known for known in mesh_formats() if known.write]
    known = choose(able, path, MeshError)
    assert known.write
    return _write(known.write, mesh if known.unit == 1 else _scaled(mesh, 1 / known.unit), path)


def check_result(path: Path) -> None:
    """Raise an error unless a result can be written at `path`: its ending is known, and a file can be there."""
    check_output(path)
    choose(result_writers(), path, FemError)


def write_result(solution: Fields, path: Path) -> Path:
    """Write a solution. The file is written completely or not at all."""
    writer = choose(result_writers(), path, FemError)
    return _write(writer.write, solution, path)


def _write(write: Callable[[T, Path], None], what: T, path: Path) -> Path:
    with replacing(path) as temporary:
        try:
            write(what, temporary)
        except MeshError as error:  # for example, a name that the format can't hold
            raise MeshError(f"{path}: {error}") from None
        except (FemError, OSError):
            raise
        except Exception as error:
            if lacks_memory(error):
                raise not_enough(f"{path}: can't be written", error) from error
            raise FemError(f"{path}: can't be written: {type(error).__name__}: {error}") from error
    return path


def result_format(path: Path) -> ResultWriter:
    """The format of a result file that can be read back. Raises FemError for another file."""
    return _format(path, [known for known in result_writers() if known.read], FemError, "result")


def read_result(path: Path) -> dict[str, Any]:
    """The arguments of the `Fields` in a result file. Its mesh must be valid, and the problem and fields must fit it.

    Raises FemError; its message is one line with the name of the file.
    """
    read = result_format(path).read
    assert read
    with _reading(path, FemError, "fem solve MESH --output FILE"):
        found = dict(read(path))
        mesh = found["mesh"] = validate_mesh(found["mesh"])
        found["problem"] = found["problem"].on(mesh)
        n, m = mesh.n_nodes, mesh.n_elements
        for name, shape in (("u", (n,)), ("velocity", (m, 2)), ("speed", (m,)), ("pressure", (m,))):
            field = found[name] = np.asarray(found[name], dtype=np.float64)
            if field.shape != shape:
                raise FemError(f"{path}: {name!r} has shape {field.shape}, but the mesh needs {shape}")
    return found
