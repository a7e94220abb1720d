"""What rounding does to the accuracy of results on a mesh.

With ε = 2.2e-16, coordinates are rounded to ε |x|, and the sizes of an element of thickness t are known to ε |x| / t.
The rounding of the solution grows with the condition of the matrix, about (extent / t)². On ducts with slivers,
the differences between backends are those of the two estimates, within a factor of ten.
"""

from collections.abc import Iterator

import numpy as np

from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats

#: The relative error of results from which there is a warning.
_TOLERATED = 1e-6

_BLOCK = 4096
#: The nodes of an element in the order around it.
_AROUND = [0, 4, 1, 5, 2, 6, 3, 7]

_ε = float(np.finfo(np.float64).eps)


def rounding_doubts(mesh: Mesh) -> Iterator[str]:
    """Warnings: how far rounding limits the accuracy on a valid mesh."""
    thickness = _thickness(mesh)
    thinnest = int(thickness.argmin())
    t, used = float(thickness[thinnest]), mesh.used_nodes
    if not t > 0:  # so curved that its nodes say little about it
        return
    farthest = float(max(np.abs(mesh.x[used]).max(), np.abs(mesh.y[used]).max()))
    element = f"element {thinnest}, which is {t:.1g} m thick"
    if farthest > 2 * mesh.extent and (error := _ε * farthest / t) > _TOLERATED:
        yield (
            f"the rounding of coordinates of up to {farthest:.3g} m changes {element}: results may be wrong by "
            f"{min(error, 1.0):.0e} of their size; move the mesh to the origin"
        )
    if (error := _ε * (mesh.extent / t) ** 2) > _TOLERATED:
        yield (
            f"rounding beside {element}, in a mesh of {mesh.extent:.3g} m: results may be wrong by "
            f"{min(error, 1.0):.0e} of their size; use thicker elements there"
        )


def _thickness(mesh: Mesh) -> Floats:
    """Twice the area over the perimeter, in metres, straight between nodes: about the shorter side; (n_elements,)."""
    z = mesh.x + 1j * mesh.y
    blocks = [np.empty(0)]
    for start in range(0, mesh.n_elements, _BLOCK):
        around = z.take(mesh.quad8[start : start + _BLOCK, _AROUND].T)
        around -= around[0].copy()  # far from the origin, products would lose their digits
        sides = np.roll(around, -1, axis=0) - around
        area = (around.real * sides.imag - around.imag * sides.real).sum(axis=0) / 2
        blocks.append(2 * area / np.abs(sides).sum(axis=0))
    return np.concatenate(blocks)
