"""What all pictures share: a figure that belongs to no window, and how axes and colour bars look."""

from typing import Any

DPI = 150
INK, PALE = "#222222", "#666666"


def new_figure(width: float, height: float, layout: Any) -> Any:
    """A Matplotlib figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def dress(axis: Any) -> None:
    """Metres on both axes, no frame."""
    axis.set_xlabel("x in m", fontsize=8, color=PALE)
    axis.set_ylabel("y in m", fontsize=8, color=PALE)
    axis.tick_params(labelsize=8, colors=PALE)
    for side in axis.spines.values():
        side.set_visible(False)


def dress_bar(bar: Any) -> None:
    """A colour bar as quiet as the axes."""
    bar.ax.tick_params(labelsize=8, colors=PALE)
    bar.outline.set_visible(False)
