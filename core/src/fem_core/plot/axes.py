"""What all pictures share: the figure, the box that they show, and the look of axes and colour bars."""

from typing import Any

import numpy as np

from fem_core.mesh.mesh import Mesh
from fem_core.support.wording import visible
from fem_core.types import Floats

DPI = 150
INK, PALE = "#222222", "#666666"


def new_figure(width: float, height: float, layout: Any) -> Any:
    """A Matplotlib figure without a window; width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def label(*lines: str) -> str:
    r"""Lines of text for a picture: any character can be seen, $ begins no formula, and _ hides no entry of a legend.

    >>> print(label("in\x1blet $1$", "_wall"))
    in\x1blet \$1\$
     _wall
    """
    shown = (visible(line).replace("$", r"\$") for line in lines)
    return "\n".join(f" {line}" if line.startswith("_") else line for line in shown)


def bounds(mesh: Mesh) -> tuple[Floats, Floats]:
    """The lower left and the upper right corner of the box around the elements, in metres; (0, 0), (1, 1) for none."""
    if not mesh.n_elements:
        return np.zeros(2), np.ones(2)
    points = np.stack([mesh.x, mesh.y], axis=1)[mesh.used_nodes]
    return points.min(axis=0), points.max(axis=0)


def show_box(axis: Any, low: Floats, high: Floats, margin: float) -> None:
    """Show the box between two corners, with a margin in parts of its longer side."""
    room = margin * (high - low).max()
    axis.set_xlim(low[0] - room, high[0] + room)
    axis.set_ylim(low[1] - room, high[1] + room)


def dress(axis: Any, x: str = "x in m", y: str = "y in m") -> None:
    """Names on both axes, no frame."""
    axis.set_xlabel(x, fontsize=8, color=PALE)
    axis.set_ylabel(y, fontsize=8, color=PALE)
    axis.tick_params(labelsize=8, colors=PALE)
    for side in axis.spines.values():
        side.set_visible(False)


def dress_bar(bar: Any) -> None:
    """Make a colour bar look like the axes."""
    bar.ax.tick_params(labelsize=8, colors=PALE)
    bar.outline.set_visible(False)
