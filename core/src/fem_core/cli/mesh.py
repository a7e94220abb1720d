"""`fem mesh`: a command for each generator, with an option for each parameter that the generator declares."""

import inspect
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fem_core.cli.console import say, say_help
from fem_core.cli.group import Names
from fem_core.cli.options import PATH, check_format, check_target, everywhere
from fem_core.generate import SHAPES
from fem_core.generate.parameters import Angle, Choice, Number, Parameter
from fem_core.generate.shape import parameters_of
from fem_core.io.files import mesh_formats, write_mesh
from fem_core.mesh.mesh import Mesh
from fem_core.support.wording import count, duration


class _Shapes(Names):
    """The generators by name."""

    what, cutoff = "shape", 0.7

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SHAPES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(cmd_name, SHAPES[cmd_name]) if cmd_name in SHAPES else None


@click.group(
    cls=_Shapes,
    short_help="Make a mesh of a simple shape.",
    subcommand_metavar="SHAPE [OPTIONS] -o FILE",
    options_metavar="",
    invoke_without_command=True,
)
@everywhere
@click.pass_context
def mesh(context: click.Context) -> None:
    """Make a mesh of a simple shape. Its boundaries are inlet, outlet and walls.

    \b
    Examples
      fem mesh y-tube --nodes 200000 -o tube.h5
      fem mesh duct --length 4 --height 1 --nx 40 --ny 10 -o duct.h5
      fem mesh elbow --angle 60deg --nodes 5000 -o elbow.h5

    Lengths are in metres. Angles are in radians, or in degrees if "deg" follows the
    number. fem mesh SHAPE --help lists the parameters of a shape.
    """
    if context.invoked_subcommand is None:
        say_help(context)


def _command(shape: str, generate: Callable[..., Mesh]) -> click.Command:
    """`fem mesh SHAPE`."""
    defaults = inspect.signature(generate).parameters
    options = [_option(name, one, defaults[name].default) for name, one in parameters_of(generate).items()]
    able = [known for known in mesh_formats() if known.write]
    endings = ", ".join(suffix for known in able for suffix in known.suffixes)
    output = click.Option(["-o", "--output"], type=PATH, required=True, help=f"File to write ({endings}).")

    @everywhere
    def run(output: Path, **parameters: Any) -> None:
        check_target(output)
        check_format(output, able)
        start = time.perf_counter()
        made = generate(**{name: value for name, value in parameters.items() if value is not None})
        built = time.perf_counter()
        write_mesh(made, output)
        written = time.perf_counter()
        boundaries = ", ".join(f"{name} ({count(len(b.edges), 'edge')})" for name, b in made.boundaries.items())
        say(f"{output}: {count(made.n_nodes, 'node')}, {count(made.n_elements, 'element')}; boundaries: {boundaries}")
        say(f"made in {duration(built - start)}, written in {duration(written - built)}")

    paragraph = (inspect.getdoc(generate) or "").split("\n\n", 1)[0]
    extra: list[click.Parameter] = list(reversed(run.__click_params__))  # type: ignore[attr-defined]
    return click.Command(
        shape, callback=run, help=f"{paragraph}\n\n\b\nExample\n  fem mesh {shape} --nodes 5000 -o {shape}.h5",
        short_help=paragraph.replace("\n", " "), params=[*options, output, *extra],
        options_metavar="[OPTIONS] -o FILE",
    )  # fmt: skip


def _option(name: str, parameter: Parameter, default: object) -> click.Parameter:
    """The option of a generator's parameter; its help gives the unit, the accepted values and the default."""
    text = parameter.help
    if default is not None:  # not by show_default, which shows all digits or, given a text, parentheses
        text += f"  [default: {f'{default:.6g}' if isinstance(default, float) else default}]"
    return click.Option([f"--{name.replace('_', '-')}", name], type=_type(parameter), default=default, help=text)


def _type(parameter: Parameter) -> Any:
    """The type that converts the text of an option to the value of a parameter."""
    match parameter:
        case Angle():
            return angle
        case Number():
            return click.FLOAT
        case Choice(words=words):
            return click.Choice(words)
        case _:
            return click.INT


def angle(text: str | float) -> float:
    """The type of an option for an angle: a number in radians, or in degrees if `deg` or `°` follows it."""
    number = str(text).removesuffix("deg").removesuffix("°")
    try:
        return float(number) if number == str(text) else math.radians(float(number))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an angle; give radians (0.5) or degrees (30deg)") from None
