"""The figure: a panel for each field, laid out so that the panels are as large as they can be."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from fem_core.errors import shortened
from fem_core.plot import flow
from fem_core.plot.axes import DPI, INK, bounds, dress, dress_bar, label, new_figure, show_box
from fem_core.plot.outline import element_sides, outline
from fem_core.plot.raster import Raster, Triangles
from fem_core.problem import condition_text
from fem_core.results import Fields
from fem_core.support.wording import count, visible
from fem_core.types import Floats

#: Title and colour map of each field. The lightness of all maps is uniform: they work in print and for colour-blind
#: people.
MAPS = {
    "potential": ("potential u in m²/s", "viridis"),
    "speed": ("speed |∇u| in m/s", "inferno"),
    "velocity": ("velocity -∇u in m/s", "inferno"),
    "pressure": ("pressure in Pa", "cividis"),
}

_WIDTH, _HEIGHT = 13.5, 9.0  # of a figure, in inches, at most
_NARROW, _PANEL = 7.0, 2.6  # width of figure and panel at least, for their titles
_BESIDE, _ABOVE, _TITLE = 1.5, 0.85, 0.72  # room of a panel for axis and colour bar, for title and axis; of the figure
_LETTER, _CONDITIONS = 0.085, 6  # width of a letter of the title in inches, conditions in the title
_LEVELS = 24  # lines of equal potential, about
_CONTOURED = 500  # pixels along the longer side that contours are taken from
_OUTLIERS = 0.1  # per cent of the elements beyond the colour scale: corners have unbounded speeds
_HEAD = 0.08  # inches, of a streamline's arrow
_MESH_SHOWN = 400  # elements up to which their sides are drawn


def draw(solution: Fields, fields: Sequence[str]) -> Any:
    """A Matplotlib figure, without a window, of `fields`: names from `MAPS`, and `convergence`."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    mesh = solution.mesh
    low, high = bounds(mesh)
    columns, width, height = layout(np.divide(*(high - low)), len(fields))
    rows = -(-len(fields) // columns)
    size = max(columns * max(width + _BESIDE, _PANEL), _NARROW), rows * (height + _ABOVE) + _TITLE
    engine = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.02, hspace=0.03)
    figure = new_figure(*size, engine)
    grid = figure.add_gridspec(rows, columns)
    narrow = width < 2 * _PANEL
    picture = _Picture(solution, low, high, width, narrow) if set(fields) != {"convergence"} else None
    for number, name in enumerate(fields):
        row, column = divmod(number, columns)
        if name == "convergence":
            last = number == len(fields) - 1  # takes the rest of its row
            panel = figure.add_subplot(grid[row, column:] if last else grid[row, column])
            _draw_convergence(panel, solution, narrow)
        elif picture:
            picture.draw(figure.add_subplot(grid[row, column]), name)
    figure.suptitle(_title(solution, int(size[0] / _LETTER)), fontsize=11, color=INK)
    return figure


def layout(aspect: float, panels: int) -> tuple[int, float, float]:
    """Columns, and width and height of a panel in inches: the largest panels that the figure has room for."""
    best = (0.0, 1, 0.0, 0.0)
    for columns in range(1, panels + 1):
        rows = -(-panels // columns)
        width = min(_WIDTH / columns - _BESIDE, ((_HEIGHT - _TITLE) / rows - _ABOVE) * aspect)
        best = max(best, (width, -columns, width, max(width / aspect, 0.4)))
    return -best[1], best[2], best[3]


class _Picture:
    """What the panels of one mesh share; `low` and `high` are the corners of the box around it, in metres."""

    def __init__(self, solution: Fields, low: Floats, high: Floats, width: float, narrow: bool) -> None:
        self._solution, self._low, self._high, self._narrow = solution, low, high, narrow
        mesh = solution.mesh
        self._triangles = Triangles(mesh)
        columns = max(2, round(width * DPI))
        rows = max(2, round(columns / np.divide(*(high - low))))
        self._raster = Raster(self._triangles, columns, rows)
        self._pixel = (high - low) / [columns, rows]
        self._outline = outline(mesh, float(self._pixel.min()))
        self._sides = element_sides(mesh) if mesh.n_elements <= _MESH_SHOWN else None
        self._bar = 0.13 / width  # of an axis' width

    def draw(self, axis: Any, name: str) -> None:
        from matplotlib.patches import PathPatch

        solution, (title, colours) = self._solution, MAPS[name]
        edge = PathPatch(self._outline, facecolor="none", edgecolor=INK, linewidth=0.9, joinstyle="round", zorder=3)
        axis.add_patch(edge)
        if name == "potential":
            values = solution.u[solution.mesh.used_nodes]
            image = self._raster.pointwise(self._triangles.nodal(solution.u))
            low, high, extend = float(values.min()), float(values.max()), "neither"
            title += self._contours(axis, image, low, high, edge)
        else:
            values = solution.pressure - solution.problem.fluid.p0 if name == "pressure" else solution.speed
            image = self._raster.elemental(values)
            low, high, extend = scale(values)
            if self._sides is not None:
                axis.add_patch(PathPatch(self._sides, facecolor="none", edgecolor="white", linewidth=0.4, alpha=0.4))
        if name == "pressure":
            title += f", less p₀ = {solution.problem.fluid.p0:,.1f}"
        shown = axis.imshow(
            image, extent=np.stack([self._low, self._high], axis=1).ravel(), origin="lower", cmap=colours,
            vmin=low, vmax=high, aspect="equal", zorder=0.4,
        )  # fmt: skip
        shown.set_clip_path(edge)
        if name == "speed":
            title += self._streamlines(axis)
        if name == "velocity":
            self._arrows(axis)
        self._frame(axis, title, shown, extend)

    def _frame(self, axis: Any, title: str, shown: Any, extend: str) -> None:
        show_box(axis, self._low, self._high, 0.012)
        axis.set_anchor("W")
        if self._narrow:
            title = title.replace(", ", "\n", 1)
        axis.set_title(title, fontsize=9.5, color=INK, loc="left")
        dress(axis)
        beside = axis.inset_axes((1.015, 0.0, self._bar, 1.0))
        dress_bar(axis.figure.colorbar(shown, cax=beside, extend=extend))

    def _contours(self, axis: Any, image: Floats, low: float, high: float, edge: Any) -> str:
        """Draw lines of equal potential at round values; return their distance, for the title."""
        from matplotlib.ticker import MaxNLocator

        if not high - low > 1e-9 * max(abs(high), abs(low)):
            return ""
        levels = MaxNLocator(_LEVELS, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        stride = max(1, max(image.shape) // _CONTOURED)
        rows, columns = (np.append(np.arange(0, n - 1, min(stride, n // 2)), n - 1) for n in image.shape)
        x, y = (
            start + (np.concatenate([[0], some[1:-1] + 0.5, [some[-1] + 1]])) * size  # up to the sides of the picture
            for start, some, size in zip(self._low, (columns, rows), self._pixel, strict=True)
        )
        lines = axis.contour(
            x, y, image[np.ix_(rows, columns)],
            levels=levels, colors="white", linewidths=0.7, alpha=0.75, zorder=0.5,
        )  # fmt: skip
        lines.set_clip_path(edge)
        return f", lines every {levels[1] - levels[0]:g}"

    def _streamlines(self, axis: Any) -> str:
        from matplotlib.collections import LineCollection
        from matplotlib.patheffects import Normal, Stroke

        mesh, problem = self._solution.mesh, self._solution.problem
        k = self._raster.elemental(problem.conductivity_on(mesh))
        qx, qy = (-k * self._raster.pointwise(part) for part in self._triangles.gradient(self._solution.u))
        if not (np.isfinite(qx) & np.isfinite(qy)).all():  # a run that diverged
            return ""
        lines = flow.Streamlines(self._raster, qx, qy, self._low, self._pixel).through(mesh, problem)
        if not lines:
            return ""
        around = [Stroke(linewidth=1.7, foreground=INK, alpha=0.5), Normal()]
        thin = [flow.thinned(line, 0.1 * float(self._pixel.min())) for line in lines]
        axis.add_collection(LineCollection(thin, colors="white", linewidths=0.8, path_effects=around), autolim=False)
        at, towards = flow.heads(lines, mesh.extent)
        axis.quiver(
            *at.T, *(_HEAD * towards).T, angles="xy", scale_units="inches", scale=1, pivot="mid", units="inches",
            width=0.1 * _HEAD, headwidth=8, headlength=10, headaxislength=8,
            color="white", edgecolor=INK, linewidth=0.3, zorder=2.5,
        )  # fmt: skip
        return ", and streamlines"

    def _arrows(self, axis: Any) -> None:
        at, drawn, cell = flow.arrows(self._solution.mesh, self._solution.velocity, self._triangles)
        axis.quiver(
            *at.T, *drawn.T, angles="xy", scale_units="xy", scale=1, pivot="mid", units="xy",
            width=0.04 * cell, headwidth=4, headlength=4.5, headaxislength=4,
            color="white", edgecolor=INK, linewidth=0.3,
        )  # fmt: skip


def scale(values: Floats) -> tuple[float, float, str]:
    """The ends of the colour scale of an element field, and which of them some values exceed."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return -1.0, 1.0, "neither"
    low, high = float(finite.min()), float(finite.max())
    inner_low, inner_high = np.percentile(finite, [_OUTLIERS, 100 - _OUTLIERS])
    below = inner_low - low > 0.05 * (inner_high - inner_low)
    above = high - inner_high > 0.05 * (inner_high - inner_low)
    low, high = float(inner_low) if below else low, float(inner_high) if above else high
    if high - low <= 1e-9 * max(abs(high), abs(low)):  # a constant field: rounding errors aren't shown
        spread = 1e-3 * max(abs(high), abs(low)) or 1.0
        return low - spread, high + spread, "neither"
    return low, high, {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]


def _draw_convergence(axis: Any, solution: Fields, narrow: bool) -> None:
    """The true residual of the equilibrated system over the iterations, on a logarithmic axis."""
    report = solution.report
    last = float(report.solver["relative_residual"])
    points = {0: 1.0} | {int(i): float(r) for i, r in report.history if r > 0}  # 1 is the residual of x = 0
    if report.iterations and last > 0:
        points[report.iterations] = last
    title = f"{report.solver['method']}: relative residual {last:.1e}"
    title += ("\n" if narrow else " ") + f"after {count(report.iterations, 'iteration')}"
    axis.set_title(label(*title.split("\n")), fontsize=9.5, color=INK, loc="left")
    if not report.iterations:
        axis.set_axis_off()
        return
    iterations = sorted(points)
    axis.semilogy(
        iterations, [points[i] for i in iterations], color="#31688e", linewidth=1.4,
        marker="o" if len(points) < 30 else "", markersize=4,
    )  # fmt: skip
    dress(axis, "iteration", "‖b - Ax‖ / ‖b‖")
    axis.grid(color="#dddddd", linewidth=0.6)


def _title(solution: Fields, letters: int) -> str:
    """The title: mesh, solver, conditions and results; the lines of conditions have at most `letters` letters."""
    report = solution.report
    how = f"{report.backend}, {report.solver['method']}"
    if report.iterations:
        how += f", {count(report.iterations, 'iteration')}"
    if not report.converged:
        how = f"NOT CONVERGED ({report.solver['stop_reason']}): {how}"
    figures = f"u max {report.solution['u_max']:.6g} m²/s, speed max {report.solution['speed_max']:.4g} m/s"
    size = f"{count(report.mesh['nodes'], 'node')}, {count(report.mesh['elements'], 'element')}"
    shown = [condition_text(one) for one in report.conditions[:_CONDITIONS]]
    if more := len(report.conditions) - len(shown):
        shown.append(f"{more} more")
    conditions = textwrap.wrap(visible("; ".join(shown)), letters)
    return label(f"{shortened(solution.mesh.source)}: {size}; {how}", *conditions, figures)
