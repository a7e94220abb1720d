"""The flow as lines and arrows: streamlines that start where it enters, and the velocity on a lattice."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from fem_core.mesh.mesh import Mesh
from fem_core.plot.outline import bezier, chains, kept
from fem_core.plot.raster import Raster, Triangles
from fem_core.problem import Dirichlet, Problem
from fem_core.types import Array, Floats, Ints

_APART = 0.04  # distance of streamlines where the flow enters, relative to the mesh's size
_LEAST, _MOST = 4, 24  # streamlines
_SLOW = 1e-3  # a streamline ends at this speed, relative to the largest speed
_HEADS = 0.3  # distance of arrow heads along a streamline, relative to the mesh's size
_ARROWS = 14  # arrows along the longer side
_LONGEST = 0.8  # length of an arrow, relative to the distance to the next arrow


class Streamlines:
    """Lines along the flux q = -k ∇u; the flow rate between any two neighbouring lines is the same.

    Parameters
    ----------
    qx, qy : (rows, columns)
        The flux at the raster's pixels.
    corner, pixel : (2,)
        Where the raster begins, and the size of its pixels, in metres.
    """

    def __init__(self, raster: Raster, qx: Floats, qy: Floats, corner: Floats, pixel: Floats) -> None:
        self._inside, self._corner, self._pixel = raster.inside, corner, pixel
        self._q = np.stack([qx, qy])
        self._least = _SLOW * float(np.hypot(qx, qy)[raster.inside].max(initial=0.0))

    def through(self, mesh: Mesh, problem: Problem) -> list[Floats]:
        """Lines from where the flow enters, or to where it leaves if a source feeds it: (n, 2) each, in metres."""
        edges, inwards = self._open_edges(mesh, problem)
        entering, leaving = float(inwards.clip(0).sum()), float(-inwards.clip(None, 0).sum())
        sign = 1 if entering > 0.99 * leaving else -1
        flux = (sign * inwards).clip(0)
        if not flux.sum() > 0:
            return []
        a, b = _ends(mesh, edges)
        width = float(np.hypot(*(b - a)[flux > 0].T).sum())
        # An even number: no line is on the axis, where a symmetrical flow divides.
        number = 2 * int(np.clip(round(0.5 * width / (_APART * mesh.extent)), _LEAST // 2, _MOST // 2))
        total = np.cumsum(flux)
        at = (np.arange(number) + 0.5) / number * total[-1]
        edge = np.searchsorted(total, at)
        t = 1 - ((total[edge] - at) / flux[edge])[:, None]
        starts = (a[edge] + t * (b[edge] - a[edge]) - self._corner) / self._pixel - 0.5
        lines = [self._corner + (line + 0.5) * self._pixel for line in self._from(starts, sign)]
        return [line[::sign] for line in lines]

    def _open_edges(self, mesh: Mesh, problem: Problem) -> tuple[Ints, Floats]:
        """The edges of boundaries with a condition, one after the other, and the flux that enters through each.

        There is no flow through the other edges.
        """
        exterior = mesh.exterior_edges
        on = np.zeros(len(exterior), dtype=bool)
        for condition in problem.conditions:
            boundary = mesh.boundaries[condition.boundary]
            held = np.zeros(mesh.n_nodes, dtype=bool)
            held[boundary.nodes if isinstance(condition, Dirichlet) else boundary.edges] = True
            on |= held[exterior].all(axis=1)
        edges = exterior[on]
        edges = edges[[number for chain in chains(edges) for number in chain]]
        a, b = _ends(mesh, edges)
        rows, columns = self._inside.shape
        i, j = np.rint((0.5 * (a + b) - self._corner) / self._pixel - 0.5).astype(int).T
        q = self._q[:, j.clip(0, rows - 1), i.clip(0, columns - 1)]
        along = b - a
        return edges, along[:, 0] * q[1] - along[:, 1] * q[0]

    def _direction(self, at: Floats) -> Floats:
        """A step of one pixel along the flux, (n, 2); zero where there is no flux."""
        q = np.stack([ndimage.map_coordinates(part, at.T[::-1], order=1, mode="nearest") for part in self._q], axis=1)
        size = np.hypot(*q.T)[:, None]
        unit = np.divide(q, size, out=np.zeros_like(q), where=size > self._least)
        return np.asarray(unit * (self._pixel.min() / self._pixel))

    def _from(self, starts: Floats, sign: int) -> list[Floats]:
        """Lines from points of the picture to the boundary or to where the flow stops, all in pixels: midpoint rule."""
        rows, columns = self._inside.shape
        # A start is on the boundary, so its pixel may be outside of the mesh: the first steps aren't checked.
        at, heading, going = starts.copy(), sign * self._direction(starts), np.arange(len(starts))
        steps = [starts]
        for step in range(8 * (rows + columns)):
            half = at[going] + 0.5 * sign * self._direction(at[going])
            ahead = sign * self._direction(half)
            moved = at[going] + ahead
            i, j = np.rint(moved).astype(int).T
            on = self._inside[j.clip(0, rows - 1), i.clip(0, columns - 1)] | (step < 3)
            on &= (moved >= -0.5).all(axis=1) & (moved <= np.array([columns, rows]) - 0.5).all(axis=1)
            on &= (ahead * heading[going]).sum(axis=1) > 0  # it neither stops nor turns back
            going = going[on]
            if not len(going):
                break
            at[going], heading[going] = moved[on], ahead[on]
            steps.append(np.full_like(at, np.nan))
            steps[-1][going] = at[going]
        lines = [line[np.isfinite(line[:, 0])] for line in np.stack(steps, axis=1)]
        return [line for line in lines if len(line) > 2]


def _ends(mesh: Mesh, edges: Ints) -> tuple[Floats, Floats]:
    """Points a and b of edges (a, mid, b): (n, 2) each."""
    a, b = (np.stack([mesh.x[nodes], mesh.y[nodes]], axis=1) for nodes in (edges[:, 0], edges[:, 2]))
    return a, b


def heads(lines: list[Floats], size: float) -> tuple[Floats, Floats]:
    """The places of arrow heads on streamlines, and their unit directions: (n, 2) each; `size` is the mesh's."""
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
    """A line with as few points as an error of `tolerance` allows."""
    return np.asarray(line[kept(line, tolerance)])


def arrows(mesh: Mesh, velocity: Floats, triangles: Triangles) -> tuple[Floats, Floats, float]:
    """The velocity on a coarse lattice: points (n, 2), arrows (n, 2), and the size of a cell of the lattice.

    `velocity` is (n_elements, 2). An arrow is drawn only if it fits between the boundaries; its length is the one that
    is drawn.
    """
    size = np.array([np.ptp(triangles.x), np.ptp(triangles.y)])
    columns, rows = (int(n) for n in np.maximum(1, np.round(_ARROWS * size / size.max())))
    point, triangle, _ = triangles.at_lattice(columns, rows)
    point, element = np.unique(np.stack([point, triangles.elements(triangle)]), axis=1)
    found, point, count = np.unique(point, return_inverse=True, return_counts=True)
    # On a side that elements share, the mean of their values: symmetrical flows then have symmetrical arrows.
    v = np.stack([np.bincount(point, part) / count for part in velocity[element].T], axis=1)
    found, v = found[finite := np.isfinite(v).all(axis=1)], v[finite]  # a run that diverged is drawn, too
    step = size / [columns, rows]
    at = [triangles.x.min(), triangles.y.min()] + (np.stack([found % columns, found // columns], axis=1) + 0.5) * step

    cell = float(min(step[step > 0.5 * size.max() / _ARROWS]))  # a lattice of one row may be narrower
    top = float(np.hypot(*v.T).max(initial=0.0)) or 1.0
    drawn = v * (_LONGEST * cell / top)
    # Discs along an arrow, with the radius of its head, must not touch the boundary, given as closely spaced points.
    edges = mesh.exterior_edges
    (a, b), (_, c) = _ends(mesh, edges), bezier(mesh, edges)
    t = np.linspace(0, 1, max(2, int(np.ceil(10 * np.hypot(*(b - a).T).max() / cell))) + 1)[:, None, None]
    boundary: Array = ((1 - t) ** 2 * a + 2 * t * (1 - t) * c + t**2 * b).reshape(-1, 2)
    discs = at[:, None] + np.linspace(-0.5, 0.5, 7)[:, None] * drawn[:, None]
    fits = (cKDTree(boundary).query(discs)[0] > 0.12 * cell).all(axis=1)
    return at[fits], drawn[fits], cell
