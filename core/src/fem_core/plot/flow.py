"""The flow as lines and arrows: streamlines from where it enters, and the velocity on a lattice."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from fem_core import quad8 as q8
from fem_core.mesh import Mesh
from fem_core.plot.outline import bezier, kept
from fem_core.plot.raster import Raster, Triangles
from fem_core.problem import Dirichlet, Problem
from fem_core.types import Array, Floats

_APART = 0.04  # streamlines where the flow enters, over the mesh's size
_LEAST, _MOST = 4, 24  # streamlines
_SLOW = 1e-3  # over the largest speed: where a streamline ends
_HEADS = 0.3  # arrow heads along a streamline, over the mesh's size
_ARROWS = 20  # along the longer side
_LONGEST = 0.7  # arrow, over the distance to the next
_BLOCK = 8192  # elements at once

#: ∂N/∂ξ at the eight nodes, then ∂N/∂η: (8, 16).
_DN = np.ascontiguousarray(q8.shape_gradient(*q8.NODES.T).transpose(2, 1, 0).reshape(8, -1))


def nodal_velocity(mesh: Mesh, u: Floats) -> Floats:
    """-∇u at the nodes, the mean of the elements around, weighted by det J there: (n_nodes, 2); 0 at orphan nodes.

    det J ∇u = (u_ξ y_η - u_η y_ξ, u_η x_ξ - u_ξ x_η), so that nothing is divided by det J where it is nearly 0.
    """
    total = np.zeros((3, mesh.n_nodes))
    for start in range(0, mesh.n_elements, _BLOCK):
        nodes = mesh.quad8[start : start + _BLOCK]
        (x_ξ, x_η), (y_ξ, y_η), (u_ξ, u_η) = (np.split(a[nodes] @ _DN, 2, axis=1) for a in (mesh.x, mesh.y, u))
        det = x_ξ * y_η - x_η * y_ξ
        parts = (y_ξ * u_η - y_η * u_ξ, x_η * u_ξ - x_ξ * u_η, det)
        for sum_, part in zip(total, parts, strict=True):
            # Beyond the Gauss points an element may be folded, a little.
            sum_ += np.bincount(nodes.ravel(), np.where(det > 0, part, 0.0).ravel(), minlength=mesh.n_nodes)
    v: Floats = (total[:2] / np.where(total[2] > 0, total[2], 1.0)).T
    return v


def inflow(mesh: Mesh, problem: Problem, velocity: Floats) -> Floats:
    """Points through which equal parts of the flow enter, (n, 2).

    Their number is even, so that none is on the line along which a symmetrical flow parts. It enters
    through boundaries with a condition: there is no flow through the others.
    """
    exterior, held = mesh.exterior_edges, np.zeros(mesh.n_nodes, dtype=bool)
    open_ = np.zeros(len(exterior), dtype=bool)
    for condition in problem.conditions:
        boundary = mesh.boundaries[condition.boundary]
        held[:] = False
        held[boundary.nodes if isinstance(condition, Dirichlet) else boundary.edges] = True
        open_ |= held[exterior].all(axis=1)
    edges = exterior[open_]
    a, b = (np.stack([mesh.x[nodes], mesh.y[nodes]], axis=1) for nodes in (edges[:, 0], edges[:, 2]))
    along = b - a
    v = 0.5 * (velocity[edges[:, 0]] + velocity[edges[:, 2]])
    flux = along[:, 0] * v[:, 1] - along[:, 1] * v[:, 0]  # inwards
    entering = np.flatnonzero(flux > 1e-6 * np.abs(flux).max(initial=0.0))
    if not len(entering):
        return np.zeros((0, 2))
    entering = entering[np.lexsort((a[entering, 0], a[entering, 1]))]
    width = float(np.hypot(*along[entering].T).sum())
    number = 2 * int(np.clip(round(0.5 * width / (_APART * mesh.extent)), _LEAST // 2, _MOST // 2))
    total = np.cumsum(flux[entering])
    at = (np.arange(number) + 0.5) / number * total[-1]
    place = np.searchsorted(total, at)
    edge = entering[place]
    t = 1 - (total[place] - at) / flux[edge]
    up = np.where(along[edge, 1] >= 0, t, 1 - t)[:, None]  # edges of either direction, walked upwards
    return np.asarray(a[edge] + up * along[edge])


def streamlines(raster: Raster, vx: Floats, vy: Floats, starts: Floats, pixel: Floats) -> list[Floats]:
    """Lines along the velocity from points of the picture, both in pixels; they end at the boundary or where it stands.

    Steps of one pixel by the midpoint rule, all lines at once.

    Parameters
    ----------
    vx, vy : (rows, columns)
    starts : (n, 2)
        Column and row.
    pixel : (2,)
        Size of a pixel.
    """
    rows, columns = raster.inside.shape
    slowest = _SLOW * float(np.hypot(vx, vy)[raster.inside].max(initial=0.0))

    def direction(at: Floats) -> Floats:
        v = np.stack([ndimage.map_coordinates(part, at.T[::-1], order=1, mode="nearest") for part in (vx, vy)], axis=1)
        speed = np.hypot(*v.T)[:, None]
        step = np.where(speed > slowest, v / np.maximum(speed, 1e-300) * (pixel.min() / pixel), 0.0)
        return np.asarray(step)

    # A start is on the boundary itself, and so in no pixel of the mesh: a few steps are free.
    at, going = starts.copy(), np.arange(len(starts))
    steps = [starts]
    for step in range(8 * (rows + columns)):
        half = at[going] + 0.5 * direction(at[going])
        moved = at[going] + direction(half)
        i, j = (np.clip(np.rint(c).astype(int), 0, n - 1) for c, n in zip(moved.T, (columns, rows), strict=True))
        on = raster.inside[j, i] | (step < 3)
        on &= (moved >= -0.5).all(axis=1) & (moved <= np.array([columns, rows]) - 0.5).all(axis=1)
        on &= (moved != at[going]).any(axis=1)
        going = going[on]
        if not len(going):
            break
        at[going] = moved[on]
        steps.append(np.full_like(at, np.nan))
        steps[-1][going] = at[going]
    lines = [line[np.isfinite(line[:, 0])] for line in np.stack(steps, axis=1)]
    return [line for line in lines if len(line) > 2]


def heads(lines: list[Floats], size: float) -> tuple[Floats, Floats]:
    """Where arrow heads sit on streamlines, and their unit directions: (n, 2) each; `size` is the mesh's."""
    at, towards = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for line in lines:
        steps = np.hypot(*np.diff(line, axis=0).T)
        length = np.append(0, np.cumsum(steps))
        number = max(1, round(length[-1] / (_HEADS * size)))
        place = np.searchsorted(length, (np.arange(number) + 0.5) / number * length[-1]).clip(1, len(line) - 2)
        direction = line[place + 1] - line[place - 1]
        at.append(line[place])
        towards.append(direction / np.hypot(*direction.T)[:, None])
    return np.concatenate(at), np.concatenate(towards)


def thinned(line: Floats, tolerance: float) -> Floats:
    """A line without the points that it doesn't need to be right up to `tolerance`."""
    return np.asarray(line[kept(line, tolerance)])


def arrows(mesh: Mesh, velocity: Floats, triangles: Triangles) -> tuple[Floats, Floats, float]:
    """The velocity on a coarse lattice, where an arrow fits between the boundaries: (n, 2), (n, 2), lattice's cell.

    `velocity` is (n_elements, 2); the arrows are as long as they are to be drawn.
    """
    size = np.array([np.ptp(triangles.x), np.ptp(triangles.y)])
    columns, rows = (int(n) for n in np.maximum(1, np.round(_ARROWS * size / size.max())))
    point, triangle, _ = triangles.at_lattice(columns, rows)
    point, element = np.unique(np.stack([point, triangles.elements(triangle)]), axis=1)
    found, point, count = np.unique(point, return_inverse=True, return_counts=True)
    # On a side that elements share, the mean of theirs, so that symmetrical flows have symmetrical arrows.
    v = np.stack([np.bincount(point, part) / count for part in velocity[element].T], axis=1)
    found, v = found[finite := np.isfinite(v).all(axis=1)], v[finite]  # a run that diverged is drawn, too
    step = size / [columns, rows]
    at = [triangles.x.min(), triangles.y.min()] + (np.stack([found % columns, found // columns], axis=1) + 0.5) * step

    cell = float(min(step[step > 0.5 * size.max() / _ARROWS]))  # a lattice of one row may be narrower
    top = float(np.hypot(*v.T).max(initial=0.0)) or 1.0
    drawn = v * (_LONGEST * cell / top)
    # Discs along an arrow, of the radius of its head, must keep off the boundary, given as close points.
    edges = mesh.exterior_edges
    b, c = bezier(mesh, edges)
    a = np.stack([mesh.x[edges[:, 0]], mesh.y[edges[:, 0]]], axis=1)
    t = np.linspace(0, 1, max(2, int(np.ceil(10 * np.hypot(*(b - a).T).max() / cell))) + 1)[:, None, None]
    boundary: Array = ((1 - t) ** 2 * a + 2 * t * (1 - t) * c + t**2 * b).reshape(-1, 2)
    discs = at[:, None] + np.linspace(-0.5, 0.5, 7)[:, None] * drawn[:, None]
    fits = (cKDTree(boundary).query(discs)[0] > 0.12 * cell).all(axis=1)
    return at[fits], drawn[fits], cell
