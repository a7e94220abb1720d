"""Options that several commands share, and the checks that come before any work."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fem_core.cli.console import Settings, say_help
from fem_core.errors import FemError, OptionError
from fem_core.mesh.mesh import SAME_PLACE
from fem_core.support.outputs import check_output

if TYPE_CHECKING:
    from fem_core.plugins.formats import MeshFormat, ResultWriter

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


def _settings(context: click.Context) -> Settings:
    return context.find_object(Settings) or context.find_root().ensure_object(Settings)


def _debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        _settings(context).debug = True


def _verbose(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        _settings(context).verbose = value


def _help(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        say_help(context)
        context.exit()


def everywhere(command: F) -> F:
    """-v, --debug and --help, before or after the command's name."""
    eager: dict[str, Any] = {"is_eager": True, "expose_value": False}
    debug = click.option("--debug", is_flag=True, callback=_debug, help="Show the traceback of an error.", **eager)
    verbose = click.option(
        "-v", "--verbose", count=True, callback=_verbose, help="Log to stderr; -vv logs more.", **eager
    )
    manual = click.option("--help", is_flag=True, callback=_help, help="Show this message and exit.", **eager)
    return verbose(debug(manual(command)))


def positive(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A finite number above 0."""
    if not 0 < value < math.inf:
        raise click.BadParameter(f"{value:g} is not a finite number above 0", context, parameter)
    return value


def _pairs(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Sequence[tuple[str, str]]:
    """`key=value` as (key, value)."""
    pairs = []
    for text in values:
        key, equals, value = text.partition("=")
        if not (key.strip() and equals):
            raise click.BadParameter(f"{text!r} is not key=value", context, parameter)
        pairs.append((key.strip(), value.strip()))
    return pairs


solver_option = click.option(
    "--solver",
    default="auto",
    show_default=True,
    metavar="METHOD",
    help="auto, mg, direct, cg or the name of another solver.",
)


def backend_options(default: str | None, metavar: str = "NAME[,NAME]|auto") -> Callable[[F], F]:
    """--backend and --option."""

    def add(command: F) -> F:
        option = click.option(
            "--option",
            "options",
            metavar="KEY=VALUE",
            callback=_pairs,
            multiple=True,
            help="Option of the backend; may be repeated.",
        )
        backend = click.option(
            "--backend",
            metavar=metavar,
            default=default,
            show_default=bool(default),
            help="Backend, or several: each stage is done by the first one that can do it."
            if "," in metavar
            else "Name of the backend.",
        )
        return backend(option(command))

    return add


scale_option = click.option(
    "--scale",
    type=float,
    help="Factor from coordinates in MESH to metres.  [default: 0.001 (millimetres) for Excel, 1 for other files]",
)

slits_option = click.option(
    "--slits",
    type=click.Choice(["keep", "merge"]),
    help="If edges coincide: keep them as a plate of no thickness (a wall on both sides), or merge their nodes.",
)


def mesh_options(command: F) -> F:
    """The options for reading MESH: the keyword arguments of `ReadOptions`."""
    tolerance = click.option(
        "--boundary-tolerance",
        type=float,
        default=SAME_PLACE,
        show_default=True,
        help="By position: a node is at an end if it is this close to it, as a part of the size of the mesh.",
    )
    by_position = click.option(
        "--by-position",
        is_flag=True,
        help="Find a missing inlet or outlet at the smallest or largest x, even if the mesh names other boundaries.",
    )
    return tolerance(by_position(scale_option(slits_option(command))))


def field_option(command: F) -> F:
    """--field, of a picture."""
    from fem_core.plot import DEFAULT, FIELDS

    return click.option(
        "--field",
        "fields",
        metavar="NAME",
        multiple=True,
        default=DEFAULT,
        show_default=", ".join(DEFAULT),
        help=f"Field to draw: {', '.join(FIELDS)} or all; may be repeated.",
    )(command)


def as_mapping(options: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Backend options as keyword arguments. Raises OptionError if one is given twice, or if no backend can have it."""
    given: dict[str, Any] = {}
    for key, value in options:
        if key in given:
            raise OptionError(f"option {key} is given twice: {given[key]!r} and {value!r}")
        if key in ("name", "fallback", "tuned"):
            raise OptionError(f"no backend has an option {key!r}; `fem backends` lists the options")
        given[key] = value
    return given


def check_target(path: Path, keep: Path | None = None) -> None:
    """Raise an error unless a file can be written at `path`; `keep` is a file it must not replace."""
    check_output(path)
    check_other(path, keep)


def check_other(path: Path, keep: Path | None) -> None:
    """Raise FemError if `path` is the input file."""
    if keep is not None and path.exists() and keep.exists() and path.samefile(keep):
        raise FemError(f"{path}: this would overwrite the input file; give another name")


def check_distinct(paths: Iterable[Path]) -> None:
    """Raise FemError for a file that would be written twice."""
    seen: set[str] = set()
    for path in paths:
        place = os.path.realpath(path)
        if place in seen:
            raise FemError(f"{path}: two outputs have this name; rename one of them")
        seen.add(place)


def check_format(path: Path, formats: "Iterable[MeshFormat | ResultWriter]") -> None:
    """Raise FemError unless one of `formats` has the ending of `path`."""
    from fem_core.io.files import choose

    choose(formats, path, FemError)
