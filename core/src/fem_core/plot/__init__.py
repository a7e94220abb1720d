"""Pictures of solutions and meshes: PNG or SVG, from one element to millions.

Fields are drawn as pixels (`raster`), cut along the true, curved boundary (`outline`); lines and arrows
(`flow`) are drawn over them. What a picture costs follows from its size, not from the mesh's.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fem_core.errors import FemError, OptionError
from fem_core.results import Fields
from fem_core.support.atomic import replacing
from fem_core.support.wording import pip_install

#: Endings that `plot_solution` writes.
SUFFIXES = (".png", ".svg")

#: What can be drawn; `all` is each of them.
FIELDS = ("potential", "speed", "velocity", "pressure", "convergence")

#: What is drawn unless something else is asked for.
DEFAULT = ("potential", "speed")


def check_plot(path: Path) -> None:
    """Raise FemError unless a picture can be drawn at `path`: its ending, and whether Matplotlib is installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise FemError(
            f"{path}: the name of a picture must end in {' or '.join(SUFFIXES)}, not {path.suffix or '(none)'!r}"
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise FemError(f"{path}: a picture needs Matplotlib, the extra `plot`: {pip_install('matplotlib')}")


def check_fields(fields: str | Sequence[str]) -> tuple[str, ...]:
    """The names of fields as a tuple, each once. Raises OptionError for one there isn't."""
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if not names or (unknown := [name for name in names if name not in (*FIELDS, "all")]):
        raise OptionError(f"can't plot {', '.join(unknown) if names else 'nothing'}; fields: {', '.join(FIELDS)}, all")
    return tuple(dict.fromkeys(names))


def plot_solution(solution: Fields, path: str | Path, fields: str | Sequence[str] = DEFAULT) -> Path:
    """Draw fields of a solution into a file.

    Parameters
    ----------
    path
        Ends in .png or .svg; the file appears whole or not at all.
    fields
        One or more of

        - `potential`, with lines of equal potential,
        - `speed`, with streamlines through which equal parts of the flow pass,
        - `velocity`: speed, with arrows,
        - `pressure`, less p₀,
        - `convergence`: the solver's residual over the iterations,

        or `all` that there is something of. Speed and pressure are constant in each element; the few largest
        values, at corners, are beyond the colour scale, which says so by its arrow.

    Raises
    ------
    FemError
        For another ending, or if Matplotlib is missing.
    OptionError
        For a field there isn't.
    """
    path = Path(path)
    check_plot(path)
    names = check_fields(fields)
    if "all" in names:
        names = FIELDS if solution.report.iterations else FIELDS[:-1]
    from fem_core.plot.figure import draw

    return save(draw(solution, names), path)


def save(figure: Any, path: Path) -> Path:
    """Write a Matplotlib figure, whole or not at all, and the same bytes each time (SVG from Matplotlib 3.10 on)."""
    from matplotlib import rc_context

    kind = path.suffix.lower().lstrip(".")
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": "fem-core"}
    with replacing(path) as temporary, rc_context({"svg.hashsalt": "fem-core"}):  # names in SVG are random otherwise
        figure.savefig(temporary, format=kind, metadata=metadata, facecolor="white")
    return path
