"""Boundary and elements as curves: a quadratic edge (a, mid, b) is a Bézier curve, exactly."""

from typing import Any

import numpy as np

from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.types import Array, Floats, Ints

_MANY = 400  # edges beyond which an outline is thinned out
_FINE = 0.05  # pixels that a thinned outline may be off


def bezier(mesh: Mesh, edges: Ints) -> tuple[Floats, Floats]:
    """Ends b of the edges and their control points c = 2 mid - (a + b)/2: (n, 2) each."""
    a, mid, b = (np.stack([mesh.x[nodes], mesh.y[nodes]], axis=1) for nodes in edges.T)
    return b, 2 * mid - 0.5 * (a + b)


def polylines(mesh: Mesh, edges: Ints, parts: int) -> Floats:
    """Edges (…, 3) as lines of points, (…, parts + 1, 2), for pictures with too many curves."""
    t = np.linspace(-1, 1, parts + 1)
    N = np.stack([0.5 * t * (t - 1), 1 - t**2, 0.5 * t * (t + 1)])
    return np.stack([mesh.x[edges] @ N, mesh.y[edges] @ N], axis=-1)


def outline(mesh: Mesh, pixel: float) -> Any:
    """The boundary as closed curves, the mesh to their left: a Matplotlib path to draw and to clip by.

    If there are more edges than a picture with pixels of this size (in metres) can show, straight lines are used.
    """
    from matplotlib.path import Path

    edges = mesh.exterior_edges
    loops = chains(edges)
    ends, controls = bezier(mesh, edges)
    vertices, codes = [], []
    for loop in loops:
        last = ends[loop[-1:]]
        curves = np.stack([controls[loop], ends[loop]], axis=1).reshape(-1, 2)
        vertices += [last, curves, last]
        codes += [[Path.MOVETO], [Path.CURVE3] * len(curves), [Path.CLOSEPOLY]]
    path = Path(np.concatenate(vertices), np.concatenate(codes).astype(Path.code_type))
    return path if len(edges) <= _MANY else _thinned(path, pixel)


def element_sides(mesh: Mesh) -> Any:
    """The sides of all elements, as one path."""
    from matplotlib.path import Path

    edges = mesh.quad8[:, q8.EDGES].reshape(-1, 3)
    ends, controls = bezier(mesh, edges)
    starts = np.stack([mesh.x[edges[:, 0]], mesh.y[edges[:, 0]]], axis=1)
    codes = np.tile(np.array([Path.MOVETO, Path.CURVE3, Path.CURVE3], dtype=Path.code_type), len(edges))
    return Path(np.stack([starts, controls, ends], axis=1).reshape(-1, 2), codes)


def chains(edges: Ints) -> list[list[int]]:
    """The indices of edges (a, mid, b) in chains of consecutive edges: open chains, then closed ones.

    If chains touch in a node, any edge that leaves it may follow: the area inside is the same.
    """
    leaving: dict[int, list[int]] = {}
    for number, a in enumerate(edges[:, 0].tolist()):
        leaving.setdefault(a, []).append(number)
    ends = edges[:, 2].tolist()
    found = []
    for node in [*sorted(leaving.keys() - set(ends)), *leaving]:
        while node in leaving:
            chain: list[int] = []
            while node in leaving:
                chain.append(leaving[node].pop())
                if not leaving[node]:
                    del leaving[node]
                node = ends[chain[-1]]
            found.append(chain)
    return found


def _thinned(path: Any, pixel: float) -> Any:
    """`path` as straight lines, with as few points as an error of `_FINE` pixels allows."""
    from matplotlib.path import Path

    tolerance = _FINE * pixel
    vertices, codes = [], []
    for polygon in path.to_polygons(closed_only=True):
        corners = polygon[kept(polygon, tolerance)]
        vertices.append(corners)
        codes += [[Path.MOVETO], [Path.LINETO] * (len(corners) - 2), [Path.CLOSEPOLY]]
    return Path(np.concatenate(vertices), np.concatenate(codes).astype(Path.code_type))


def kept(points: Floats, tolerance: float) -> Array:
    """Indices of the points that the method of Douglas and Peucker keeps (The Canadian Cartographer 10, 1973)."""
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    # A closed curve has no first chord, so it is divided at the point farthest from its start.
    middle = int(np.argmax(np.hypot(*(points - points[0]).T)))
    keep[middle] = True
    parts = [(0, middle), (middle, len(points) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        chord = points[last] - points[first]
        off = points[first + 1 : last] - points[first]
        length = float(np.hypot(*chord))
        distance = np.abs(chord[0] * off[:, 1] - chord[1] * off[:, 0]) / length if length else np.hypot(*off.T)
        worst = int(np.argmax(distance))
        if distance[worst] > tolerance:
            worst += first + 1
            keep[worst] = True
            parts += [(first, worst), (worst, last)]
    return np.flatnonzero(keep)
