"""`fem mesh`: a command for each generator, its options taken from the generator's parameters."""

import inspect
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from fem_core.cli.console import say
from fem_core.cli.options import PATH, check_format, check_target, everywhere
from fem_core.generate import SHAPES
from fem_core.io.files import mesh_formats, write_mesh
from fem_core.mesh.mesh import Mesh
from fem_core.support.wording import count, did_you_mean


class _Shapes(click.Group):
    """The generators by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SHAPES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(cmd_name, SHAPES[cmd_name]) if cmd_name in SHAPES else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in SHAPES:
            hint = did_you_mean(args[0].lower(), SHAPES, cutoff=0.7)
            raise click.UsageError(f"there is no shape {args[0]!r}{hint}; shapes: {', '.join(SHAPES)}", ctx)
        return super().resolve_command(ctx, args)


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
    """Make a mesh of a simple shape, with inlet, outlet and walls named.

    \b
    Examples
      fem mesh y-tube --nodes 200000 -o tube.h5
      fem mesh duct --length 4 --height 1 --nx 40 --ny 10 -o duct.h5
      fem mesh elbow --angle 60deg --nodes 5000 -o elbow.h5

    Lengths are in metres, angles in radians, or in degrees as in 60deg. Each shape has
    parameters of its own: fem mesh SHAPE --help.
    """
    if context.invoked_subcommand is None:
        say(context.get_help())


def _command(shape: str, generate: Callable[..., Mesh]) -> click.Command:
    """`fem mesh SHAPE`."""
    text = inspect.getdoc(generate) or f"A mesh of the shape {shape}."
    described = _described(text)
    hints = get_type_hints(generate)
    options: list[click.Parameter] = []
    for name, parameter in inspect.signature(generate).parameters.items():
        default = None if parameter.default is parameter.empty else parameter.default
        option = f"--{name.replace('_', '-')}"
        help_text = described.get(name, "")
        if default is not None:  # not by show_default, which shows all digits or, given a text, parentheses
            help_text += f"  [default: {f'{default:.6g}' if isinstance(default, float) else default}]"
        options.append(
            click.Option([option, name], type=_type(hints.get(name), help_text), default=default, help=help_text)
        )
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
        say(f"made in {built - start:.2f} s, written in {written - built:.2f} s")

    paragraph = text.split("\n\n", 1)[0]
    extra: list[click.Parameter] = list(reversed(run.__click_params__))  # type: ignore[attr-defined]
    return click.Command(
        shape, callback=run, help=f"{paragraph}\n\n\b\nExample\n  fem mesh {shape} --nodes 5000 -o {shape}.h5",
        short_help=paragraph.replace("\n", " "), params=[*options, output, *extra],
        options_metavar="[OPTIONS] -o FILE",
    )  # fmt: skip


def _type(hint: Any, description: str) -> Any:
    """How the text of an option becomes a parameter of this type."""
    if "radians" in description:
        return angle
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    kinds = [hint, *get_args(hint)]
    return click.INT if int in kinds else click.FLOAT if float in kinds else click.STRING


def angle(text: str | float) -> float:
    """An angle in radians, or in degrees with `deg` or `°` behind it; a type of options."""
    number = str(text).removesuffix("deg").removesuffix("°")
    try:
        return float(number) if number == str(text) else math.radians(float(number))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no angle: give radians, as 0.5, or degrees, as 30deg") from None


def _described(text: str) -> dict[str, str]:
    """What the section Parameters of a docstring says about each: `a, b : float`, and indented lines below."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n:]*\n-+\n|\Z)", text, re.M | re.S)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else []:
        if line.startswith(" "):
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
        elif " : " in line:
            names = [name.strip() for name in line.split(" : ")[0].split(",")]
            found.update(dict.fromkeys(names, ""))
    return found
