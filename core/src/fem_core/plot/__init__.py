"""Pictures of solutions and meshes: PNG or SVG, from one element to millions.

Fields are drawn as pixels (`raster`), cut along the true, curved boundary (`outline`); lines and arrows (`flow`) are
drawn over them. The cost of a picture depends on its size, not on the size of the mesh.
"""

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fem_core.errors import FemError, OptionError
from fem_core.results import Fields
from fem_core.support.atomic import replacing
from fem_core.support.wording import pip_install

#: Endings that `plot_solution` writes.
SUFFIXES = (".png", ".svg")

#: The fields that can be drawn; `all` draws all of them.
FIELDS = ("potential", "speed", "velocity", "pressure", "convergence")

_LARGEST = 1e300  # the differences of values must be numbers, too

#: The fields that are drawn by default.
DEFAULT = ("potential", "speed")


def check_plot(path: Path) -> None:
    """Raise FemError if a picture can't be drawn at `path`: its ending is wrong, or Matplotlib isn't installed."""
    if path.suffix.lower() not in SUFFIXES:
        raise FemError(
            f"{path}: the name of a picture must end in {' or '.join(SUFFIXES)}, not {path.suffix or '(none)'!r}"
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise FemError(f"{path}: a picture needs Matplotlib, the extra `plot`: {pip_install('matplotlib')}")


def check_fields(fields: str | Sequence[str]) -> tuple[str, ...]:
    """The names of fields as a tuple, each once. Raises OptionError for an unknown field."""
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if not names or (unknown := [name for name in names if name not in (*FIELDS, "all")]):
        raise OptionError(f"can't plot {', '.join(unknown) if names else 'nothing'}; fields: {', '.join(FIELDS)}, all")
    return tuple(dict.fromkeys(names))


def plot_solution(solution: Fields, path: str | Path, fields: str | Sequence[str] = DEFAULT) -> Path:
    """Draw fields of a solution into a file.

    Parameters
    ----------
    path
        The name of the file, with the ending .png or .svg. The file is written completely or not at all.
    fields
        One or more of

        - `potential`: u, with lines of equal potential;
        - `speed`: with streamlines; the flow rate between any two neighbouring streamlines is the same;
        - `velocity`: the speed, with arrows;
        - `pressure`: p - p₀;
        - `convergence`: the residual over the iterations of the solver;

        or `all`: all of these, `convergence` only if there were iterations. Speed and pressure are constant in each
        element. The colour scale may leave out a few of the largest or smallest values, which occur at corners; it
        then ends in an arrow.

    Raises
    ------
    FemError
        If the file has another ending, or if Matplotlib isn't installed.
    OptionError
        If a field is unknown.
    """
    path = Path(path)
    check_plot(path)
    names = check_fields(fields)
    if "all" in names:
        names = FIELDS if solution.report.iterations else FIELDS[:-1]
    from fem_core.plot.figure import draw

    for name, values in (("u", solution.u), ("speed", solution.speed), ("pressure", solution.pressure)):
        if (largest := np.abs(values[np.isfinite(values)]).max(initial=0.0)) > _LARGEST:
            raise FemError(
                f"{path}: can't be drawn: {name} reaches {largest:.3g}, and at most {_LARGEST:g} can be shown"
            )
    return save(lambda: draw(solution, names), path)


def save(draw: Callable[[], Any], path: Path) -> Path:
    """Write the Matplotlib figure that `draw` makes, completely or not at all. Each failure is an error that names it.

    The bytes are reproducible (SVG from Matplotlib 3.10 on).
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # letters that the font lacks are drawn as boxes
            return _save(draw(), path)
    except (FemError, OSError, MemoryError):
        raise
    except Exception as error:
        raise FemError(f"{path}: can't be drawn: {type(error).__name__}: {error}") from error


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import rc_context

    kind = path.suffix.lower().lstrip(".")
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": "fem-core"}
    with replacing(path) as temporary, rc_context({"svg.hashsalt": "fem-core"}):  # names in SVG are random otherwise
        figure.savefig(temporary, format=kind, metadata=metadata, facecolor="white")
    return path
