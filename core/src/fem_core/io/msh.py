"""Gmsh meshes (.msh, formats 2.2 and 4.1, text and binary); physical groups become boundaries.

8-node quadrilaterals (type 16) are the elements; other quadrilaterals and triangles can be converted. Lines in
physical groups are the edges of boundaries: those of 3 nodes (type 8), or of 2 (type 1) where they are the ends of a
side of an element; points in physical groups are further nodes. Points and lines in no group are left aside.
Everything else is refused.
"""

import warnings
from pathlib import Path

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import (
    as_elements_have,
    check_names,
    check_plane,
    is_end,
    left_aside,
    sides_between,
    solvable,
    with_valid_names,
)
from fem_core.io.msh_sections import AREAS, LINE_2, LINE_3, POINT, QUAD, WAY_OUT, Sections
from fem_core.mesh.cells import Cells
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.support.wording import count, verb
from fem_core.types import Array


def read(path: Path) -> Mesh:
    """The mesh in a gmsh file. Raises MeshError with the file and the fault."""
    return solvable(path, read_cells(path), WAY_OUT)


def read_cells(path: Path) -> Cells:
    """The cells in a gmsh file, of any kind that can be converted. Raises MeshError as `read`."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy before 2.3 gives it if the text isn't a number
        sections = Sections(file, path)
        sections.read()
    return _cells(sections)


def _cells(file: Sections) -> Cells:
    """The cells of what was found."""
    found: dict[str, list[Array]] = {}
    for (kind, _), parts in file.found.items():
        if kind in AREAS:
            found.setdefault(AREAS[kind], []).append(np.concatenate(parts))
    if not found:
        raise MeshError(f"{file.path}: there are no 8-node quadrilaterals{_why_no_quads(file)}")
    blocks = {kind: _once(parts) for kind, parts in found.items()}
    cells = Cells(file.points[:, 0], file.points[:, 1], blocks, source=file.path.name)
    notes = check_plane(file.path, file.points, file.tags, cells.used_nodes)
    boundaries, lost = _boundaries(file, cells.outline)
    points, lines = (
        sum(len(part) for (kind, tag), parts in file.found.items() if kind in kinds and not tag for part in parts)
        for kinds in ((POINT,), (LINE_2, LINE_3))
    )
    notes = (*notes, *left_aside(points, lines, "in no physical group"), *file.notes)
    return cells.having(boundaries=boundaries, warnings=tuple(file.warnings), notes=notes, lost=lost)


def _once(parts: list[Array]) -> Array:
    """Elements, each once: format 2.2 repeats an element for each physical group that it is in."""
    if len(parts) == 1:
        return parts[0]
    nodes = np.concatenate(parts)
    return nodes[np.sort(np.unique(nodes, axis=0, return_index=True)[1])]


def _why_no_quads(file: Sections) -> str:
    if any(tag for _, tag in file.found):
        return (
            ", only points and lines in physical groups: gmsh saves what is in a group; add a Physical Surface "
            "with all surfaces, or write version 4.1 with Mesh.SaveAll=1"
        )
    if file.found:
        return ", only points and lines; mesh in two dimensions (gmsh -2)"
    return f": {WAY_OUT}"


def _boundaries(file: Sections, quad8: Array) -> tuple[dict[str, Boundary], dict[str, str]]:
    """Physical groups of lines and points as boundaries, and the groups that are no boundaries, with the reason."""
    edges: dict[str, list[Array]] = {}
    nodes: dict[str, list[Array]] = {}
    lost: dict[str, str] = {}
    for (kind, tag), parts in file.found.items():
        if not tag or kind in AREAS:
            continue
        found = np.concatenate(parts)
        if kind == POINT:
            nodes.setdefault(_name(file, 0, tag), []).append(found.ravel())
            continue
        name = _name(file, 1, tag)
        if kind == LINE_3:
            lines = as_elements_have(found[:, [0, 2, 1]], quad8)
        else:
            lines, fits = sides_between(found, quad8)
            if not fits.all():
                loose = found[~fits]
                a, b = file.tags[loose[0]].tolist()
                lost[name] = (
                    f"{len(loose)} of its {count(len(found), '2-node line')} {verb(len(loose), 'are')} no side of an "
                    f"element, such as that of nodes {a} and {b}; set Mesh.ElementOrder=2 before meshing"
                )
        edges.setdefault(name, []).append(lines)
    saved = "" if file.version == "4.1" else " (format 2.2 loses them under Mesh.SaveAll=1; write version 4.1)"
    for dimension, tag in sorted({*file.grouped, *file.names}, key=lambda group: (-group[0], group[1])):
        name = _name(file, dimension, tag)
        if name in edges or name in nodes:
            continue
        if dimension > 1 and is_end(name):
            lost[name] = "its physical group is a surface or a volume; make a Physical Curve of the lines"
        elif dimension < 2:
            lost[name] = f"its physical group has no {'lines' if dimension else 'points'} in the file{saved}"
    boundaries = {}
    for name in dict.fromkeys([*edges, *nodes]):
        if name not in lost:
            own = np.concatenate([np.empty((0, 3), dtype=np.int32), *edges.get(name, [])])
            boundaries[name] = Boundary(own, np.concatenate([own.ravel(), *nodes.get(name, [])]))
    boundaries, nameless = with_valid_names(boundaries)
    return boundaries, lost | nameless


def _name(file: Sections, dimension: int, tag: int) -> str:
    """The name of a group: that of the file, or else its tag, which can be the name of another group."""
    if (dimension, tag) in file.names:
        return file.names[dimension, tag]
    own = str(tag) if dimension else f"point {tag}"
    return f"unnamed {own}" if own in file.names.values() else own


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` in format 4.1, binary: a physical group for each boundary, and `elements`."""
    check_names(mesh)
    numbered = list(enumerate(mesh.boundaries.items(), start=1))
    curves = [(k, boundary.edges) for k, (_, boundary) in numbered if len(boundary.edges)]
    points = [(k, np.setdiff1d(boundary.nodes, boundary.edges)) for k, (_, boundary) in numbered]
    points = [(k, nodes) for k, nodes in points if len(nodes)]
    # empty walls would be read as a lost boundary
    names = [(1, k, name) for k, (name, own) in numbered if len(own.nodes) or name != "walls"]
    names += [(0, k, numbered[k - 1][1][0]) for k, _ in points]
    names.append((2, len(numbered) + 1, "elements"))

    def sizes(*values: int) -> bytes:
        return np.array(values, dtype=np.uint64).tobytes()

    def ints(*values: int) -> bytes:
        return np.array(values, dtype=np.int32).tobytes()

    def doubles(*values: Array) -> bytes:
        return np.ascontiguousarray(np.stack(values, axis=-1), dtype=np.float64).tobytes()

    def entity(tag: int, physical: int, nodes: Array, is_point: bool = False) -> bytes:
        low, high = ((f(mesh.x[nodes]), f(mesh.y[nodes]), 0.0) for f in (np.min, np.max))
        box = low if is_point else low + high
        return ints(tag) + doubles(*np.array(box)) + sizes(1) + ints(physical) + (b"" if is_point else sizes(0))

    blocks = [(0, k, POINT, nodes[:, None]) for k, nodes in points]
    blocks += [(1, k, LINE_3, edges[:, [0, 2, 1]]) for k, edges in curves]
    blocks.append((2, 1, QUAD, mesh.quad8))
    with path.open("wb") as file:
        file.write(b"$MeshFormat\n4.1 1 8\n" + ints(1) + b"\n$EndMeshFormat\n")
        text = "".join(f'{dimension} {tag} "{name}"\n' for dimension, tag, name in names)
        file.write(f"$PhysicalNames\n{len(names)}\n{text}$EndPhysicalNames\n".encode())
        file.write(b"$Entities\n" + sizes(len(points), len(curves), 1, 0))
        file.writelines(entity(k, k, nodes, is_point=True) for k, nodes in points)
        file.writelines(entity(k, k, edges) for k, edges in curves)
        file.write(entity(1, len(numbered) + 1, mesh.used_nodes) + b"\n$EndEntities\n")
        file.write(b"$Nodes\n" + sizes(1, mesh.n_nodes, 1, mesh.n_nodes) + ints(2, 1, 0) + sizes(mesh.n_nodes))
        file.write(np.arange(1, mesh.n_nodes + 1, dtype=np.uint64).tobytes())
        file.write(doubles(mesh.x, mesh.y, np.zeros(mesh.n_nodes)) + b"\n$EndNodes\n")
        total = sum(len(nodes) for *_, nodes in blocks)
        file.write(b"$Elements\n" + sizes(len(blocks), total, 1, total))
        first = 1
        for dimension, tag, kind, nodes in blocks:
            rows = np.empty((len(nodes), 1 + nodes.shape[1]), dtype=np.uint64)
            rows[:, 0], rows[:, 1:] = np.arange(first, first + len(nodes)), nodes + 1
            file.write(ints(dimension, tag, kind) + sizes(len(nodes)) + rows.tobytes())
            first += len(nodes)
        file.write(b"\n$EndElements\n")
