"""A picture of a checked mesh: elements coloured by quality, boundaries by name, the worst elements marked.

It is readable for a few elements and for millions. If elements are smaller than a few pixels, each pixel shows the
worst element in it, and panels below show the worst elements enlarged.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fem_core.errors import shortened
from fem_core.mesh import quad8 as q8
from fem_core.mesh.geometry import edges_among
from fem_core.mesh.quality import LIMITS
from fem_core.plot import check_plot, save
from fem_core.plot.axes import INK, bounds, dress, dress_bar, label, new_figure, show_box
from fem_core.plot.outline import polylines
from fem_core.plot.raster import greatest
from fem_core.support.wording import count
from fem_core.types import Array, Floats

if TYPE_CHECKING:
    from fem_core.tools.mesh_check import MeshCheck

#: Colours of the usual boundaries; other boundaries take the colours of _OTHERS in turn.
_COLOURS: Mapping[str, str] = MappingProxyType({"inlet": "#1f5fd0", "outlet": "#00875a", "walls": "#222222"})
_OTHERS = ("#8e24aa", "#b7791f", "#0097a7", "#c2185b", "#5d4037", "#607d8b")
_BARE = "#ff00c8"  # edges in no boundary
_QUALITY = ("#eef2f6", "#fde6b0", "#f9a03f", "#d7301f")  # from the best to the limit of poor
_MARKS: Mapping[str, str] = MappingProxyType({"jacobian": "o", "aspect": "s", "skew": "^"})
_PERFECT: Mapping[str, float] = MappingProxyType({"jacobian": 1.0, "aspect": 1.0, "skew": 0.0})

_DRAWN = 20_000  # elements up to which each is drawn
_VECTORS = 3_000  # … and up to which as a shape of its own in SVG
_NEAR = 1_500  # from this number of elements on, the worst are also shown enlarged
_MARKED = 2  # elements marked for each measure
_PIXELS = 1500  # along the longer side
_WIDTH = 12.0  # inches


def plot_mesh(found: "MeshCheck", path: str | Path) -> Path:
    """Draw the mesh of a `check_mesh`, as far as its elements can be drawn.

    Parameters
    ----------
    path
        The name of the file, with the ending .png or .svg. The file is written completely or not at all.

    Raises
    ------
    FemError
        If the file has another ending, or if Matplotlib isn't installed.
    """
    path = Path(path)
    check_plot(path)
    return save(lambda: _figure(found), path)


def _figure(found: "MeshCheck") -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    mesh = found.mesh
    low, high = bounds(mesh)
    width, height = np.maximum(high - low, 1e-9 * (high - low).max())
    near = mesh.n_elements > _NEAR
    tall = float(np.clip((_WIDTH - 1.5) * height / width, 2.5, 9.0))
    figure = new_figure(_WIDTH, tall + 1.4 + 3.6 * near, "constrained")
    grid = figure.add_gridspec(1 + near, len(LIMITS), height_ratios=[tall, 3.2][: 1 + near])
    axis = figure.add_subplot(grid[0, :])
    colours = ScalarMappable(Normalize(0, 1), LinearSegmentedColormap.from_list("quality", _QUALITY))

    _draw_elements(axis, found, colours, low, high)
    _draw_boundaries(axis, found, 2.0)
    _draw_faulty_nodes(axis, found)
    show_box(axis, low, high, 0.03)
    marked = _spread(found, max(width, height))
    for measure, element, value, x, y in marked:
        axis.plot(
            x, y, _MARKS[measure], color=INK, markerfacecolor="white", markersize=7, markeredgewidth=1.4, zorder=7
        )
        left = x > low[0] + 0.75 * width
        axis.annotate(
            f"{element}: {measure} {value:.3g}", (x, y), (-10 if left else 10, 9), textcoords="offset points",
            ha="right" if left else "left", fontsize=8, color=INK, zorder=6,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "#999999", "alpha": 0.9},
        )  # fmt: skip
    dress(axis)
    axis.set_aspect("equal")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, fontsize=9, frameon=False, borderaxespad=0.2)
    poor = bool((found.quality.badness > 1).any()) if mesh.n_elements else False
    bar = figure.colorbar(colours, ax=axis, extend="max" if poor else "neither", pad=0.01, fraction=0.03, aspect=30)
    bar.set_label("elements: 0 perfect, 1 poor", fontsize=9, color=INK)
    dress_bar(bar)
    for column, measure in enumerate(LIMITS if near else ()):
        _draw_near(figure.add_subplot(grid[1, column]), found, measure, colours)
    figure.suptitle(_title(found), fontsize=11, color=INK)
    return figure


def _title(found: "MeshCheck") -> str:
    ends = "can be solved" if found.solvable else f"CAN'T BE SOLVED: {count(len(found.faults), 'fault')}"
    return label(f"{shortened(found.source)}: {count(found.nodes, 'node')}, {count(found.elements, 'element')}; {ends}")


def _draw_elements(axis: Any, found: "MeshCheck", colours: Any, low: Floats, high: Floats) -> None:
    mesh = found.mesh
    if not mesh.n_elements:
        axis.text(0.5, 0.5, "no element can be drawn", ha="center", transform=axis.transAxes, color=INK)
    elif mesh.n_elements <= _DRAWN:
        line = float(np.clip(0.6 * (1000 / mesh.n_elements) ** 0.5, 0.15, 0.6))
        _draw_shapes(axis, found, np.arange(mesh.n_elements), colours, line)
    else:
        pixel = float((high - low).max()) / _PIXELS
        columns, rows = (int(n) for n in np.ceil((high - low) / pixel) + 1)
        image = greatest(mesh, found.quality.badness, low, pixel, columns, rows)
        extent = (low[0], low[0] + columns * pixel, low[1], low[1] + rows * pixel)
        axis.imshow(image, colours.cmap, colours.norm, origin="lower", extent=extent, interpolation="nearest")


def _draw_shapes(axis: Any, found: "MeshCheck", elements: Array, colours: Any, line: float) -> None:
    """Elements one by one, with curved sides."""
    from matplotlib.collections import PolyCollection

    mesh = found.mesh
    parts = 8 if len(elements) <= _VECTORS else 2
    outlines = polylines(mesh, mesh.quad8[elements][:, q8.EDGES], parts)[:, :, :-1].reshape(len(elements), -1, 2)
    axis.add_collection(
        PolyCollection(
            list(outlines), facecolors=colours.to_rgba(found.quality.badness[elements]), edgecolors="#7a8794",
            linewidths=line, rasterized=len(elements) > _VECTORS,
        )
    )  # fmt: skip


def _draw_boundaries(axis: Any, found: "MeshCheck", line: float) -> None:
    from matplotlib.collections import LineCollection

    mesh = found.mesh
    if not mesh.n_elements:
        return
    parts = 8 if mesh.n_elements <= _DRAWN else 2
    others = iter(_OTHERS * (1 + len(mesh.boundaries)))
    exterior = mesh.matched_edges.exterior
    named = np.concatenate([exterior[:0], *(boundary.edges for boundary in mesh.boundaries.values())])
    shown = {
        name: (boundary.edges, _COLOURS.get(name) or next(others), "solid")
        for name, boundary in mesh.boundaries.items()
    }
    if len(bare := exterior[~edges_among(exterior, named)]):
        shown["in no boundary"] = bare, _BARE, "dotted"
    for name, (edges, colour, style) in shown.items():
        axis.add_collection(
            LineCollection(
                list(polylines(mesh, edges, parts)), colors=colour, linewidths=line if name != "walls" else 0.6 * line,
                linestyles=style, capstyle="round", zorder=3 if name == "walls" else 4,
                label=label(f"{name} ({count(len(edges), 'edge')})"),
            )
        )  # fmt: skip


def _draw_faulty_nodes(axis: Any, found: "MeshCheck") -> None:
    nodes = np.concatenate([np.empty(0, dtype=np.int32), *(fault.nodes for fault in found.faults)])
    nodes = nodes[(nodes >= 0) & (nodes < found.mesh.n_nodes)]
    nodes = nodes[np.isfinite(found.mesh.x[nodes]) & np.isfinite(found.mesh.y[nodes])]
    if len(nodes):
        x, y = found.mesh.x[nodes], found.mesh.y[nodes]
        axis.plot(x, y, "x", color="#d7301f", markersize=5, zorder=5, label=f"nodes at fault ({len(nodes):,})")


def _spread(found: "MeshCheck", size: float) -> Iterator[tuple[str, int, float, float, float]]:
    """The worst elements of each measure that aren't good and whose labels don't overlap."""
    taken = np.empty((0, 2))
    for measure in LIMITS:
        number = 0
        for element, value, x, y in found.worst(measure, 200):
            across, up = np.abs(taken - (x, y)).T / size
            good = np.isclose(value, _PERFECT[measure], atol=0.02)
            if number < _MARKED and not good and ((across > 0.15) | (up > 0.04)).all():
                yield measure, element, value, x, y
                taken, number = np.append(taken, [(x, y)], axis=0), number + 1


def _draw_near(axis: Any, found: "MeshCheck", measure: str, colours: Any) -> None:
    """Draw the worst element by a measure, and the elements around it."""
    from matplotlib.patches import Polygon

    mesh = found.mesh
    worst = int(found.quality.worst(measure, 1)[0])
    nodes = mesh.quad8[worst]
    middle = np.array([mesh.x[nodes[:4]].mean(), mesh.y[nodes[:4]].mean()])
    half = 3.5 * max(np.ptp(mesh.x[nodes]), np.ptp(mesh.y[nodes]))
    corners = mesh.quad8[:, :4]
    x, y = np.abs(mesh.x[corners] - middle[0]).min(axis=1), np.abs(mesh.y[corners] - middle[1]).min(axis=1)
    around = np.flatnonzero((x < 1.5 * half) & (y < 1.2 * half))[:_VECTORS]
    _draw_shapes(axis, found, around, colours, 0.5)
    outline = polylines(mesh, nodes[q8.EDGES], 8)[:, :-1].reshape(-1, 2)
    axis.add_patch(Polygon(outline, fill=False, edgecolor=INK, linewidth=1.8, zorder=5))
    _draw_boundaries(axis, found, 2.5)
    axis.set_xlim(middle[0] - 1.4 * half, middle[0] + 1.4 * half)
    axis.set_ylim(middle[1] - half, middle[1] + half)
    dress(axis)
    axis.set_aspect("equal")
    axis.locator_params(nbins=4)
    axis.set_title(
        f"element {found.numbers[worst]}: {measure} {getattr(found.quality, measure)[worst]:.3g}",
        fontsize=9, color=INK,
    )  # fmt: skip
