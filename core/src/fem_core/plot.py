"""Pictures of a solution: PNG or SVG, from one element to millions.

The picture is made of triangles of the elements themselves, never of a triangulation of points, so
holes stay holes and nodes that belong to no element don't appear. Elements of small meshes are
subdivided, so that curved sides look curved and the quadratic potential isn't flattened.
"""

import importlib.util
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from fem_core import quad8 as q8
from fem_core.atomic import replacing
from fem_core.errors import FemError, OptionError
from fem_core.mesh import Mesh
from fem_core.types import Array, Floats

if TYPE_CHECKING:
    from fem_core.solution import Solution

#: Endings that `plot_solution` writes.
SUFFIXES = (".png", ".svg")

#: Fields by name: title, unit, colour map, whether a value per node (else per element).
_FIELDS = {
    "u": ("potential u", "m²/s", "viridis", True),
    "speed": ("speed |∇u|", "m/s", "inferno", False),
    "pressure": ("pressure", "Pa", "cividis", False),
}

_TRIANGLES = 400_000  # aimed at by the subdivision of small meshes
_FINEST = 8  # parts of an element's side
_LEVELS = 24  # lines of equal potential
_OUTLIERS = 0.1  # per cent of the elements beyond the colour scale: corners have unbounded speeds
_MESH_SHOWN = 400  # elements up to which their sides are drawn
_ARROWS = 20  # along the longer side
_LONGEST = 0.7  # arrow, over the distance to the next
_WIDTH, _DPI = 12.0, 150  # inches, dots per inch
_INK = "#222222"


def check_plot(path: Path) -> None:
    """Raise FemError unless a picture can be drawn at `path`: its ending, and whether Matplotlib is installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise FemError(f"{path}: pictures end in {' or '.join(SUFFIXES)}, not {path.suffix or '(none)'!r}")
    if importlib.util.find_spec("matplotlib") is None:
        remedy = f"{shlex.quote(sys.executable)} -m pip install matplotlib"
        raise FemError(f"{path}: a picture needs Matplotlib, the extra `plot`: {remedy}")


def plot_solution(solution: "Solution", path: str | Path, fields: Sequence[str] = ("u", "speed")) -> Path:
    """Draw fields of a solution, one below or beside the other.

    Parameters
    ----------
    path
        Ends in .png or .svg; the file appears whole or not at all.
    fields
        Of `u` (with lines of equal potential), `speed` and `pressure`, constant in each element. The few
        largest values, at corners, are beyond the colour scale, which says so by its arrow.

    Raises
    ------
    FemError
        For another ending, or if Matplotlib is missing.
    OptionError
        For a field there isn't.
    """
    path = Path(path)
    check_plot(path)
    if not fields or (unknown := [name for name in fields if name not in _FIELDS]):
        raise OptionError(f"can't plot {', '.join(unknown) if fields else 'nothing'}; fields: {', '.join(_FIELDS)}")
    figure = _figure(solution, fields)
    kind = path.suffix.lower().lstrip(".")
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": "fem-core"}
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=metadata, facecolor="white")
    return path


def _figure(solution: "Solution", fields: Sequence[str]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.tri import Triangulation

    mesh = solution.mesh
    triangles = _Triangles(mesh)
    # Numbers of the triangles' corners; the coordinates are the same for all fields.
    shared = Triangulation(triangles.x, triangles.y, triangles.corners)
    outline = _curves(mesh, mesh.exterior_edges, triangles.parts)

    width, height = np.ptp(triangles.x), np.ptp(triangles.y)
    across = bool(width < 1.5 * height)  # beside each other
    figure = Figure(figsize=_size(width / height, len(fields), across), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = (1, len(fields)) if across else (len(fields), 1)
    axes = figure.subplots(*grid, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, name in zip(axes, fields, strict=True):
        _draw(axis, name, solution, triangles, shared)
        if name == "speed":
            _draw_arrows(axis, solution, triangles)
        axis.add_collection(LineCollection(list(outline), colors=_INK, linewidths=0.8, capstyle="round"))
        axis.set_aspect("equal")
        margin = 0.02 * max(width, height)
        axis.set_xlim(triangles.x.min() - margin, triangles.x.max() + margin)
        axis.set_ylim(triangles.y.min() - margin, triangles.y.max() + margin)
        axis.tick_params(labelsize=8, colors="#666666")
        for side in axis.spines.values():
            side.set_visible(False)
    for number, axis in enumerate(axes):
        below, left = across or number == len(axes) - 1, not across or number == 0
        axis.tick_params(bottom=below, left=left)
        axis.set_xlabel("x in m" if below else "", fontsize=8, color="#666666")
        axis.set_ylabel("y in m" if left else "", fontsize=8, color="#666666")
    figure.suptitle(_title(solution), fontsize=11, color=_INK)
    return figure


def _size(aspect: float, panels: int, across: bool) -> tuple[float, float]:
    """Of the figure in inches, so that the panels fill it: room is added for title, axes and colour bars."""
    if across:
        height = min((_WIDTH + 2 - 1.8 * panels) / (panels * aspect), 9.0)
        return max(panels * (height * aspect + 1.8), 7.0), height + 1.2
    return _WIDTH, max(min(panels * ((_WIDTH - 2.2) / aspect + 0.45) + 1.0, 14.0), 4.0)


def _title(solution: "Solution") -> str:
    report = solution.report
    how = f"{report.backend}, {report.solver['method']}"
    if report.iterations:
        how += f", {report.iterations:,} iterations"
    if not report.converged:
        how = f"NOT CONVERGED ({report.solver['stop_reason']}): {how}"
    figures = f"u max {report.solution['u_max']:.6g} m²/s, speed max {report.solution['speed_max']:.4g} m/s"
    size = f"{report.mesh['nodes']:,} nodes, {report.mesh['elements']:,} elements"
    return f"{solution.mesh.source}: {size}\n{figures}; {how}"


class _Triangles:
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
        self._N = q8.shape(ξ, η)
        self._quad8 = mesh.quad8
        self._points = len(ξ)
        self.x, self.y = self.nodal(mesh.x), self.nodal(mesh.y)
        i = (np.arange(self.parts)[:, None] * (self.parts + 1) + np.arange(self.parts)).ravel()
        right, up = 1, self.parts + 1
        local = np.concatenate([np.stack([i, i + right, i + up + right], 1), np.stack([i, i + up + right, i + up], 1)])
        first = np.arange(mesh.n_elements, dtype=np.int32) * self._points
        self.corners: Array = (first[:, None, None] + local.astype(np.int32)).reshape(-1, 3)

    def nodal(self, values: Floats) -> Floats:
        """A field with a value per node, at the points."""
        if self.parts == 1:
            return values[self._quad8[:, [0, 1, 3, 2]]].ravel()
        at: Floats = values[self._quad8] @ self._N.T
        return at.ravel()

    def elemental(self, values: Floats) -> Floats:
        """A field with a value per element, at the points."""
        return np.repeat(values, self._points)

    def at_lattice(self, columns: int, rows: int) -> tuple[Array, Array]:
        """The pairs of a point and an element that holds it, for the middles of a grid of cells over the whole box.

        Points are numbered row by row. One on a side of elements is in each of them.
        """
        ε = 1e-9
        z = (self.x - self.x.min()) * (columns / np.ptp(self.x)) - 0.5 + 0j  # points are whole numbers
        z.imag = (self.y - self.y.min()) * (rows / np.ptp(self.y)) - 0.5
        z = z[self.corners]
        # Each triangle with each of the points in the box around it.
        left, low = (np.ceil(a.min(axis=1) - ε).astype(np.int64) for a in (z.real, z.imag))
        wide, high = (np.floor(a.max(axis=1) + ε).astype(np.int64) + 1 for a in (z.real, z.imag))
        wide, high = wide - left, high - low
        triangle = np.repeat(np.arange(len(z)), wide * high)
        nth = np.arange(len(triangle)) - np.repeat(np.cumsum(wide * high) - wide * high, wide * high)
        i, j = left[triangle] + nth % wide[triangle], low[triangle] + nth // wide[triangle]
        to = z[triangle] - (i + 1j * j)[:, None]
        turn = (to.conj() * np.roll(to, -1, axis=1)).imag  # twice the areas of the point and each side
        inside = (turn >= -ε).all(axis=1) | (turn <= ε).all(axis=1)
        point, element = (j * columns + i)[inside], self.corners[triangle[inside], 0] // self._points
        pairs = np.unique(np.stack([point, element]), axis=1)
        return pairs[0], pairs[1]


def _draw(axis: Any, name: str, solution: "Solution", triangles: _Triangles, shared: Any) -> None:
    from matplotlib.collections import LineCollection

    title, unit, colours, nodal = _FIELDS[name]
    values = getattr(solution, name)
    at = triangles.nodal(values) if nodal else triangles.elemental(values)
    low, high, extend = _range(values[solution.mesh.used_nodes] if nodal else values, nodal)
    image = axis.tripcolor(
        shared, at, shading="gouraud", cmap=colours, vmin=low, vmax=high, rasterized=True, zorder=0.4
    )
    if nodal and high > low:
        levels = np.linspace(low, high, _LEVELS + 1)[1:-1]
        axis.tricontour(shared, at, levels=levels, colors="white", linewidths=0.6, alpha=0.75, zorder=0.5)
        if triangles.parts == 1:  # the lines are in as many pieces as they cross elements
            axis.set_rasterization_zorder(0.6)
    if not nodal and solution.mesh.n_elements <= _MESH_SHOWN:
        sides = _curves(solution.mesh, solution.mesh.quad8[:, q8.EDGES].reshape(-1, 3), _FINEST)
        axis.add_collection(LineCollection(list(sides), colors="white", linewidths=0.4, alpha=0.4))
    bar = axis.figure.colorbar(image, ax=axis, extend=extend, pad=0.01, fraction=0.04, aspect=25)
    bar.set_label(f"{title} in {unit}", fontsize=9, color=_INK)
    bar.ax.tick_params(labelsize=8, colors="#666666")
    bar.outline.set_visible(False)


def _range(values: Floats, nodal: bool) -> tuple[float, float, str]:
    """Ends of the colour scale, and which of them values lie beyond."""
    low, high = float(values.min()), float(values.max())
    if nodal:
        return low, high, "neither"
    inner_low, inner_high = np.percentile(values, [_OUTLIERS, 100 - _OUTLIERS])
    below = inner_low - low > 0.05 * (inner_high - inner_low)
    above = high - inner_high > 0.05 * (inner_high - inner_low)
    low, high = float(inner_low) if below else low, float(inner_high) if above else high
    if high - low <= 1e-9 * max(abs(high), abs(low)):  # a constant field: no noise of the last digits
        spread = 1e-3 * max(abs(high), abs(low)) or 1.0
        return low - spread, high + spread, "neither"
    return low, high, {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]


def _curves(mesh: Mesh, edges: Array, parts: int) -> Floats:
    """Quadratic edges (a, mid, b) as lines of points."""
    t = np.linspace(-1, 1, parts + 1)
    N = np.stack([0.5 * t * (t - 1), 1 - t**2, 0.5 * t * (t + 1)])
    return np.stack([mesh.x[edges] @ N, mesh.y[edges] @ N], axis=-1)


def _draw_arrows(axis: Any, solution: "Solution", triangles: _Triangles) -> None:
    """The velocity at the points of a coarse lattice, where an arrow fits between the boundaries."""
    size = np.array([np.ptp(triangles.x), np.ptp(triangles.y)])
    columns, rows = (int(n) for n in np.maximum(1, np.round(_ARROWS * size / size.max())))
    point, element = triangles.at_lattice(columns, rows)
    found, point, count = np.unique(point, return_inverse=True, return_counts=True)
    # On a side that elements share, the mean of theirs, so that symmetrical flows have symmetrical arrows.
    v = np.stack([np.bincount(point, part) / count for part in solution.velocity[element].T], axis=1)
    found, v = found[finite := np.isfinite(v).all(axis=1)], v[finite]  # a run that diverged is drawn, too
    step = size / [columns, rows]
    at = [triangles.x.min(), triangles.y.min()] + (np.stack([found % columns, found // columns], axis=1) + 0.5) * step

    cell = float(min(step[step > 0.5 * size.max() / _ARROWS]))  # a lattice of one row may be narrower
    top = float(np.hypot(*v.T).max(initial=0.0)) or 1.0
    arrows = v * (_LONGEST * cell / top)
    # Discs along an arrow, of the radius of its head, must keep off the boundary, given as close points.
    edges = solution.mesh.exterior_edges
    ends = np.hypot(*(a[edges[:, 2]] - a[edges[:, 0]] for a in (solution.mesh.x, solution.mesh.y)))
    boundary = _curves(solution.mesh, edges, max(2, int(np.ceil(10 * ends.max() / cell)))).reshape(-1, 2)
    discs = at[:, None] + np.linspace(-0.5, 0.5, 7)[:, None] * arrows[:, None]
    fits = (cKDTree(boundary).query(discs)[0] > 0.12 * cell).all(axis=1)
    axis.quiver(
        *at[fits].T, *arrows[fits].T, angles="xy", scale_units="xy", scale=1, pivot="mid", units="xy",
        width=0.04 * cell, headwidth=4, headlength=4.5, headaxislength=4,
        color="white", edgecolor=_INK, linewidth=0.3,
    )  # fmt: skip
