"""A mesh as VTK stores it: the common part of the files for ParaView (VTKHDF, VTU)."""

import numpy as np

from fem_core.mesh.mesh import Mesh
from fem_core.types import Array, Floats

_QUADRATIC_QUAD = 23  # its nodes are in our order


def points(mesh: Mesh) -> Floats:
    """The nodes in space, at z = 0: (n_nodes, 3)."""
    space = np.zeros((mesh.n_nodes, 3))
    space[:, 0], space[:, 1] = mesh.x, mesh.y
    return space


def vectors(plane: Floats) -> Floats:
    """Vectors of the plane, (n, 2), with z = 0, because VTK draws arrows in space: (n, 3)."""
    space = np.zeros((len(plane), 3))
    space[:, :2] = plane
    return space


def cells(mesh: Mesh) -> tuple[Array, Array, Array]:
    """The nodes of all cells, the start of each cell's nodes (and the end of the last), and the types.

    int64 (8 n_elements,), int64 (n_elements + 1,), uint8 (n_elements,).
    """
    n = mesh.n_elements
    offsets = np.arange(0, 8 * n + 1, 8, dtype=np.int64)
    return mesh.quad8.ravel().astype(np.int64), offsets, np.full(n, _QUADRATIC_QUAD, dtype=np.uint8)
