"""Reading Abaqus input files: from the blocks of the text to the mesh."""

from pathlib import Path

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.abaqus.boundaries import Boundaries, Piece
from fem_core.io.abaqus.frames import in_space
from fem_core.io.abaqus.model import Model
from fem_core.io.abaqus.scopes import Scope
from fem_core.io.abaqus.text import Source, blocks
from fem_core.io.abaqus.writing import END, HEAD
from fem_core.io.checks import check_plane
from fem_core.mesh.mesh import Mesh


@np.errstate(over="ignore", invalid="ignore")  # validation refuses coordinates that are too large
def read(path: Path) -> Mesh:
    """The mesh in an input file. Raises MeshError with the file, the line and the keyword."""
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
        raise MeshError(f"{path}: there are no plane 8-node elements{left}")
    quads = [piece.scope.quad8 + np.int32(piece.node) if piece.node else piece.scope.quad8 for piece in pieces]
    quad8 = quads[0] if len(quads) == 1 else np.concatenate(quads)
    notes += check_plane(path, joined, np.concatenate([piece.labels for piece in pieces]), quad8)
    found = Boundaries(pieces, quad8, len(joined), model.lookup(is_final=True))
    notes += found.notes
    return Mesh(joined[:, 0], joined[:, 1], quad8, found.named, path.name, notes=tuple(notes), lost=found.lost)


def _pieces(scopes: list[Scope]) -> list[Piece]:
    """The scopes as pieces of one mesh, one after the other."""
    several = sum(bool(scope.nodes) for scope in scopes) > 1
    pieces = []
    node = element = line = 0
    for scope in scopes:
        pieces.append(Piece(scope, node, element, line, f"{scope.name}." if several and scope.name else ""))
        node, element, line = node + len(scope.points), element + len(scope.quad8), line + len(scope.edges)
    return pieces


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
