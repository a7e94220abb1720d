"""Meshes of other programs, as meshio reads them: Nastran, MED, Exodus, VTK, SU2, XDMF and more.

Cells become `Cells` to be converted. Named sets of lines are boundaries; so are the lines and points of each tag, under
the tag's name or number.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import check_plane, lacking
from fem_core.io.vtu_mesh import TAGS
from fem_core.mesh.cells import KINDS, Cells
from fem_core.types import Array

_NEEDS = ("meshio",)
#: meshio's names of cells, as ours.
_CELLS = {"triangle": "triangle3", "triangle6": "triangle6", "quad": "quad4", "quad8": "quad8", "quad9": "quad9"}
_LINES, _POINTS = ("line", "line3"), ("vertex",)


def read_cells(path: Path) -> Cells:
    """The cells in a file of another program. Raises MeshError naming the file and what can't be converted."""
    if problem := lacking(path.suffix, "convert", _NEEDS):
        raise MeshError(f"{path}: {problem}")
    import meshio

    try:
        # meshio prints warnings, and leaves the interpreter over some files.
        said = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            found = meshio.read(path)
    except (Exception, SystemExit) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise MeshError(f"{path}: meshio can't read this file ({text})") from None
    return _cells(path, found)


def _cells(path: Path, found: Any) -> Cells:
    blocks: dict[str, list[Array]] = {}
    lines: dict[str, list[Array]] = {}
    points: dict[str, list[Array]] = {}
    for number, block in enumerate(found.cells):
        nodes = np.asarray(block.data, dtype=np.int64)
        if block.type in _CELLS:
            blocks.setdefault(_CELLS[block.type], []).append(nodes)
        elif block.type in (*_LINES, *_POINTS):
            for name, chosen in _named(found, number, block.type):
                if block.type in _LINES:
                    lines.setdefault(name, []).append(nodes[chosen][:, [0, 2, 1] if nodes.shape[1] == 3 else [0, 1]])
                else:
                    points.setdefault(name, []).append(nodes[chosen].ravel())
        else:
            raise MeshError(
                f"{path}: {len(nodes):,} cells of type {block.type!r} can't be converted; the kinds that can are "
                f"{', '.join(kind.name + 's' for kind in KINDS.values())}"
            )
    for name, nodes in found.point_sets.items():
        points.setdefault(name, []).append(np.asarray(nodes, dtype=np.int64).ravel())
    quads = {kind: np.concatenate(parts) for kind, parts in blocks.items()}
    if not quads:
        raise MeshError(f"{path}: there are no triangles and no quadrilaterals")
    used = np.unique(np.concatenate([nodes.ravel() for nodes in quads.values()]))
    xyz = np.asarray(found.points, dtype=np.float64)
    notes = check_plane(path, xyz, np.arange(len(xyz)), used)
    return Cells(
        xyz[:, 0].copy(), xyz[:, 1].copy(), quads,
        {name: tuple(parts) for name, parts in lines.items()},
        {name: np.concatenate(parts) for name, parts in points.items()},
        path.name, (), tuple(notes),
    )  # fmt: skip


def _named(found: Any, number: int, kind: str) -> Iterator[tuple[str, Array]]:
    """The names of boundaries in a block of lines or points, and the cells of each."""
    sets = {name: parts[number] for name, parts in found.cell_sets.items() if parts[number] is not None}
    own = {name: np.asarray(chosen, dtype=np.int64) for name, chosen in sets.items() if len(chosen)}
    own = {name: chosen for name, chosen in own.items() if not name.startswith("gmsh:")}
    if own:
        yield from own.items()
        return
    dimension = 0 if kind in _POINTS else 1
    names = {int(tag): name for name, (tag, of) in found.field_data.items() if int(of) == dimension}
    for array in TAGS:
        tags = found.cell_data.get(array)
        if tags is not None and (given := np.asarray(tags[number]).ravel()).any():
            prefix = "point " if dimension == 0 else ""
            for tag in np.unique(given[given != 0]):
                yield names.get(int(tag), f"{prefix}{int(tag)}"), np.flatnonzero(given == tag)
            return
