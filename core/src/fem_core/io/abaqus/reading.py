"""Reading Abaqus input files: from the blocks of the text to the mesh."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.abaqus.boundaries import Boundaries, Piece
from fem_core.io.abaqus.elements import LINE, reversed_order
from fem_core.io.abaqus.frames import in_space
from fem_core.io.abaqus.model import Model
from fem_core.io.abaqus.scopes import Scope
from fem_core.io.abaqus.text import Source, blocks
from fem_core.io.abaqus.writing import END, HEAD
from fem_core.io.checks import as_elements_have, check_plane, solvable
from fem_core.mesh.cells import Cells
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.types import Ints


def read(path: Path) -> Mesh:
    """The mesh in an input file. Raises MeshError naming the file, the line and the keyword."""
    return solvable(path, read_cells(path), "mesh with 8-node elements, such as CPS8 and DC2D8")


@np.errstate(over="ignore", invalid="ignore")  # validation refuses coordinates that are too large
def read_cells(path: Path) -> Cells:
    """The cells in an input file, of any kind that can be converted. Raises MeshError as `read`."""
    model = _model(path)
    placed, notes = model.placed()
    left = "".join(f"; {note}" for note in notes)
    if not any(scope.nodes for scope, _ in placed):
        raise MeshError(f"{path}: there are no nodes{left}")
    points = [frame(scope.points) if frame else scope.points for scope, frame in placed]
    pieces = _pieces([scope for scope, _ in placed])
    if len(placed) > 1:
        joined = np.concatenate([in_space(part) for part in points])
    else:
        joined = points[0]
    if not any(scope.areas for scope, _ in placed):
        raise MeshError(f"{path}: there are no plane elements{left}")
    cells = Cells(joined[:, 0], joined[:, 1], _blocks(pieces), source=path.name)
    notes += check_plane(path, joined, np.concatenate([piece.labels for piece in pieces]), cells.used_nodes)
    found = Boundaries(pieces, cells, model.lookup(is_final=True))
    cells = cells.having(boundaries=found.named, notes=(*notes, *found.notes), lost=found.lost)
    over = [piece for piece, (_, frame) in zip(pieces, placed, strict=True) if frame and frame.turns_over]
    return _turned(cells, pieces, over) if over else cells


def _turned(cells: Cells, pieces: list[Piece], over: list[Piece]) -> Cells:
    """The cells once the elements of instances that lie upside down are walked the other way round."""
    blocks = {}
    for kind, nodes in cells.blocks.items():
        turned, start = nodes.copy(), 0
        for piece in pieces:
            rows = slice(start, start := start + len(piece.scope.placed(kind)))
            if piece in over:
                turned[rows] = turned[rows][:, reversed_order(kind)]
        blocks[kind] = turned
    found = replace(cells, blocks=blocks)
    boundaries = {
        name: Boundary(as_elements_have(one.edges, found.outline), one.nodes) for name, one in cells.boundaries.items()
    }
    return found.having(boundaries=boundaries)


def _pieces(scopes: list[Scope]) -> list[Piece]:
    """The scopes as pieces of one mesh, one after the other."""
    several = sum(bool(scope.nodes) for scope in scopes) > 1
    pieces = []
    node = line = element = 0
    for scope in scopes:
        pieces.append(Piece(scope, node, line, f"{scope.name}." if several and scope.name else ""))
        node, line = node + len(scope.points), line + scope.count(LINE)
    for kind in _kinds(pieces):
        for piece in pieces:
            piece.elements[kind] = element
            element += piece.scope.count(kind)
    return pieces


def _kinds(pieces: list[Piece]) -> list[str]:
    return list(dict.fromkeys(kind for piece in pieces for kind in piece.scope.areas))


def _blocks(pieces: list[Piece]) -> dict[str, Ints]:
    """The nodes of the elements by kind, one piece behind the other."""
    blocks = {}
    for kind in _kinds(pieces):
        found = [(piece.scope.placed(kind), np.int32(piece.node)) for piece in pieces]
        nodes = [nodes + begin if begin else nodes for nodes, begin in found]
        blocks[kind] = nodes[0] if len(nodes) == 1 else np.concatenate(nodes)
    return blocks


def _model(path: Path) -> Model:
    source = Source.read(path)
    if source.raw.startswith(HEAD) and b"\n" + END not in source.raw:  # a user may have added lines below it
        raise MeshError(
            f"{path}: the file is incomplete: the line {END.decode()!r} is missing; copy or write the file again"
        )
    model = Model(len(source.raw))
    for block in blocks(source):
        model.take(block)
    return model
