"""NumPy's archive: meshes and results, as arrays by name; never a pickle.

A mesh is `x`, `y`, `quad8`, and `boundaries/NAME/edges` and `…/nodes`, as in HDF5. `z` is accepted if it is the same
everywhere. `slits` says that coincident edges are intended (`Mesh.slits`). A result adds `u`, `velocity`,
`speed`, `pressure`, `history`, `version`, `converged`, and the `report` as JSON.
"""

import io
import math
import re
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import SMALL, check_claim, check_z, lacks, result_warning, unread
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.results import RESULT_VERSION, UNITS, Fields, to_json

_MEMBER = re.compile(r"(x|y|z|quad8|slits|boundaries/([^/]+)/(edges|nodes))\.npy")
_RESULT = {"u.npy", "velocity.npy"}
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(path: Path) -> Mesh:
    """The mesh in an archive. Other arrays are left alone, but those that may be boundaries are lost names.

    Raises MeshError naming the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            every = {member.filename: member for member in archive.infolist()}
            members = {name: member for name, member in every.items() if _MEMBER.fullmatch(name)}
            for name in ("x", "y", "quad8"):
                if f"{name}.npy" not in members:
                    raise lacks(path, name, (_described(archive, member) for member in every.values()))
            _check_sizes(path, list(members.values()))
            found = {name.removesuffix(".npy"): _array(archive, member, path) for name, member in members.items()}
            others = (_header(archive, member) for name, member in every.items() if name not in members)
            lost = unread(others, found["x"].size, len(np.atleast_1d(found["quad8"])))
    except zipfile.BadZipFile as error:
        raise MeshError(f"{path}: not a readable .npz file ({error})") from None
    except (EOFError, zlib.error, NotImplementedError) as error:
        raise MeshError(f"{path}: damaged .npz file ({error})") from None
    names = dict.fromkeys(match[2] for name in members if (match := _MEMBER.fullmatch(name)) and match[2])
    none = np.empty(0, dtype=np.int32)
    boundaries = {
        name: Boundary(found.get(f"boundaries/{name}/edges", none), found.get(f"boundaries/{name}/nodes", none))
        for name in names
    }
    warnings = (result_warning(path),) if every.keys() >= _RESULT else ()
    slits = bool(np.any(found.get("slits", False)))
    notes = check_z(path, found["x"], found["y"], found.get("z"))
    return Mesh(found["x"], found["y"], found["quad8"], boundaries, path.name, warnings, notes, lost, slits=slits)


def _described(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    """The name of an array, and its shape where it can be read."""
    name, kind, shape = _header(archive, member)
    return f"{name} {shape}" if kind else name


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, str, tuple[int, ...]]:
    """The name of an array, and the kind of its numbers and its shape; no kind where it can't be read."""
    name = member.filename.removesuffix(".npy")
    with suppress(ValueError, KeyError, RuntimeError), archive.open(member) as file:
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        return name, dtype.kind, shape
    return name, "", ()


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        check_claim(path, repr(member.filename), member.file_size, member.compress_size)
    total = sum(member.file_size for member in members)  # members may overlap in the file
    check_claim(path, "the archive", max(0, total - SMALL), path.stat().st_size)


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Any:
    """One array; its shape must fit the bytes of the member."""
    what = f"{path}: {member.filename!r}"
    try:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:
                raise MeshError(f"{what} has NumPy's format {version}; use 1.0 or 2.0")
            shape, by_column, dtype = _HEADERS[version](file)
            if dtype.kind not in "iuf":
                raise MeshError(f"{what} must hold numbers, not {dtype}")
            if (size := math.prod(shape) * dtype.itemsize) > member.file_size:
                raise MeshError(f"{what} claims the shape {shape} of {dtype} but holds {member.file_size:,} bytes")
            values = np.frombuffer(file.read(size), dtype)  # read-only: the mesh needs no copy
            return values.reshape(shape, order="F" if by_column else "C")
    except ValueError as error:
        raise MeshError(f"{what} is not an array of NumPy ({error})") from None


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` with its named boundaries."""
    _save(path, _arrays(mesh))


def write_result(solution: Fields, path: Path) -> None:
    """Write the mesh, the fields and the report."""
    report = solution.report
    fields = {name: np.asarray(getattr(solution, name), dtype=np.float64) for name in UNITS}
    others = {
        "history": np.reshape(np.array(report.history, dtype=np.float64), (-1, 2)),
        "version": np.array(RESULT_VERSION),
        "converged": np.array(report.converged),
        "report": np.array(to_json(report.to_dict())),
    }
    _save(path, _arrays(solution.mesh) | fields | others)


def _arrays(mesh: Mesh) -> dict[str, Any]:
    arrays: dict[str, Any] = {"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8}
    if mesh.slits:
        arrays["slits"] = np.array(1)
    for name, boundary in mesh.boundaries.items():
        arrays[f"boundaries/{name}/edges"], arrays[f"boundaries/{name}/nodes"] = boundary.edges, boundary.nodes
    return arrays


def _save(path: Path, arrays: dict[str, Any]) -> None:
    whole = io.BytesIO()  # on a full disk, a half-written archive raises again when it is deleted
    np.savez(whole, **arrays)
    with whole.getbuffer() as content, path.open("wb") as file:
        file.write(content)
