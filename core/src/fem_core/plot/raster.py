"""A mesh as pixels: the element that each pixel shows, and the place in it. The cost depends on the number of pixels,
also for millions of elements.

The pixels are made from the elements themselves, not from a triangulation of points: holes stay holes, and orphan nodes
don't appear.
"""

import numpy as np
from scipy import ndimage

from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.types import Array, Bools, Floats

_TRIANGLES = 400_000  # aimed at by the subdivision of small meshes
_FINEST = 8  # parts of an element's side
_PAIRS = 1 << 21  # pairs of a triangle and a point that are compared at once


class Triangles:
    """The elements as triangles: each divided into parts² quadrilaterals of two triangles.

    Points aren't shared between elements, so that a field may jump from one to the next.

    Parameters
    ----------
    x, y : (n_elements · points,)
    corners : (n_triangles, 3)
        Numbers of points.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.parts = int(np.clip((_TRIANGLES / (2 * mesh.n_elements)) ** 0.5, 1, _FINEST))
        t = np.linspace(-1, 1, self.parts + 1)
        η, ξ = (a.ravel() for a in np.meshgrid(t, t, indexing="ij"))
        self._N, self._dN = q8.shape(ξ, η), q8.shape_gradient(ξ, η)
        self._mesh, self._quad8 = mesh, mesh.quad8
        self.points = len(ξ)
        self.x, self.y = self.nodal(mesh.x), self.nodal(mesh.y)
        i = (np.arange(self.parts)[:, None] * (self.parts + 1) + np.arange(self.parts)).ravel()
        right, up = 1, self.parts + 1
        local = np.concatenate([np.stack([i, i + right, i + up + right], 1), np.stack([i, i + up + right, i + up], 1)])
        first = np.arange(mesh.n_elements, dtype=np.int32) * self.points
        self.corners: Array = (first[:, None, None] + local.astype(np.int32)).reshape(-1, 3)

    def nodal(self, values: Floats) -> Floats:
        """A field with a value per node, at the points."""
        if self.parts == 1:
            return np.ravel(values[self._quad8[:, [0, 1, 3, 2]]])
        return np.ravel(values[self._quad8] @ self._N.T)

    def gradient(self, values: Floats) -> tuple[Floats, Floats]:
        """∂/∂x and ∂/∂y of a field with a value per node, at the points.

        0 where det J <= 0: outside of its Gauss points an element may be folded a little.
        """
        d_ξ, d_η = self._dN[:, 0].T, self._dN[:, 1].T
        x, y, u = (a[self._quad8] for a in (self._mesh.x, self._mesh.y, values))
        x_ξ, x_η, y_ξ, y_η, u_ξ, u_η = (np.ravel(a @ d) for a in (x, y, u) for d in (d_ξ, d_η))
        det = x_ξ * y_η - x_η * y_ξ
        inverse = np.divide(1.0, det, out=np.zeros_like(det), where=det > 0)
        return (u_ξ * y_η - u_η * y_ξ) * inverse, (u_η * x_ξ - u_ξ * x_η) * inverse

    def elements(self, triangles: Array) -> Array:
        """The elements of the triangles of these numbers."""
        return np.asarray(self.corners[triangles, 0] // self.points)

    def at_lattice(self, columns: int, rows: int) -> tuple[Array, Array, Floats]:
        """The pairs of a point and a triangle that contains it; the points are the centres of the cells of a lattice.

        The lattice covers the box around the mesh. Points are numbered row by row. A point on a common side of
        triangles is in each of them. The third array has the barycentric coordinates of the points, (n, 3).
        """
        z = (self.x - self.x.min()) * (columns / np.ptp(self.x)) - 0.5 + 0j  # points are whole numbers
        z.imag = (self.y - self.y.min()) * (rows / np.ptp(self.y)) - 0.5
        z = z[self.corners]
        # Each triangle with each of the points in the box around it.
        ε = 1e-9
        left, low = (np.ceil(a.min(axis=1) - ε).astype(np.int32) for a in (z.real, z.imag))
        wide, high = (np.floor(a.max(axis=1) + ε).astype(np.int32) + 1 for a in (z.real, z.imag))
        wide, high = wide - left, high - low
        seen = np.flatnonzero((wide > 0) & (high > 0))
        ends = np.cumsum(wide[seen].astype(np.int64) * high[seen])
        found = []
        start = 0
        while start < len(seen):
            stop = max(start + 1, int(np.searchsorted(ends, _PAIRS + (ends[start - 1] if start else 0), side="right")))
            some = seen[start:stop]
            count = wide[some] * high[some]
            triangle = np.repeat(some, count)
            nth = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
            j, i = np.divmod(nth, wide[triangle])
            i, j = i + left[triangle], j + low[triangle]
            to = z[triangle] - (i + 1j * j)[:, None]
            turn = (to.conj() * np.roll(to, -1, axis=1)).imag  # twice the areas of the point and each side
            inside = (turn >= -ε).all(axis=1) | (turn <= ε).all(axis=1)
            turn = turn[inside][:, [1, 2, 0]]  # opposite to the corners
            found.append(((j * columns + i)[inside], triangle[inside], turn / turn.sum(axis=1, keepdims=True)))
            start = stop
        if not found:
            return np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3))
        point, triangle, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return point, triangle, weights


class Raster:
    """The fields of a mesh on a grid of rows x columns pixels over the box around it, lowest row first.

    Parameters
    ----------
    inside : (rows, columns)
        Pixels whose centre is in the mesh. Each of the others shows the same as the nearest of these, so that a picture
        can be cut along the true boundary.
    """

    def __init__(self, triangles: Triangles, columns: int, rows: int) -> None:
        self._triangles = triangles
        point, triangle, weights = triangles.at_lattice(columns, rows)
        of_pixel = np.full(rows * columns, -1, dtype=np.int64)
        of_pixel[point] = np.arange(len(point))
        self.inside: Bools = (of_pixel >= 0).reshape(rows, columns)
        nearest = ndimage.distance_transform_edt(~self.inside, return_distances=False, return_indices=True)
        shown = of_pixel[nearest[0] * columns + nearest[1]]
        self._corners, self._weights = triangles.corners[triangle[shown]], weights[shown]

    def pointwise(self, values: Floats) -> Floats:
        """A field given at the points of the triangles: (rows, columns)."""
        return np.asarray(np.einsum("ijk,ijk->ij", values[self._corners], self._weights))

    def elemental(self, values: Floats) -> Floats:
        """A field with a value per element: (rows, columns)."""
        return np.asarray(values[self._corners[..., 0] // self._triangles.points])


def greatest(mesh: Mesh, values: Floats, low: Floats, pixel: float, columns: int, rows: int) -> Floats:
    """The largest value of the elements in each pixel, NaN where there is no element: (rows, columns).

    Every element counts, also an element that is too small to contain a pixel's centre; `Raster` would skip it.

    Parameters
    ----------
    values : (n_elements,)
    low : (2,)
        Lower left corner of the picture.
    pixel : float
        Side of a pixel, in metres.
    """
    image = np.full(rows * columns, np.nan)
    x, y = (mesh.x - low[0]) / pixel, (mesh.y - low[1]) / pixel
    corners = mesh.quad8[:, :4]
    across = np.maximum(np.ptp(x[corners], axis=1), np.ptp(y[corners], axis=1))
    parts = 2 ** np.ceil(np.log2(np.maximum(1.5 * across, 2.0))).astype(int)  # points closer than pixels
    for k in np.unique(parts):
        t = (np.arange(k) + 0.5) * (2 / k) - 1
        N = q8.shape(*(a.ravel() for a in np.meshgrid(t, t))).T
        group = np.flatnonzero(parts == k)
        group = group[np.argsort(values[group])]  # of several in a pixel the last one stays: the greatest
        for some in np.array_split(group, 1 + len(group) * k * k // _PAIRS):
            nodes = mesh.quad8[some]
            column, row = (np.clip(a[nodes] @ N, 0, n - 1).astype(int) for a, n in ((x, columns), (y, rows)))
            at, value = (row * columns + column).ravel(), np.repeat(values[some], k * k)
            higher = ~(image[at] >= value)
            image[at[higher]] = value[higher]
    return image.reshape(rows, columns)
