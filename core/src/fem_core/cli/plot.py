"""`fem plot`."""

from collections.abc import Sequence
from pathlib import Path

import click

from fem_core.cli.console import say
from fem_core.cli.options import PATH, check_distinct, check_target, everywhere, field_option


@click.command(short_help="Draw a saved result.")
@click.argument("result", type=PATH)
@click.option(
    "--output",
    "-o",
    "outputs",
    type=PATH,
    multiple=True,
    show_default="RESULT with the ending .png",
    help="File of the picture (.png, .svg); may be repeated.",
)
@field_option
@everywhere
def plot(result: Path, outputs: Sequence[Path], fields: Sequence[str]) -> None:
    """Draw RESULT, an HDF5 file written by fem solve --output.

    \b
    Examples
      fem plot result.h5
      fem plot result.h5 -o flow.svg --field speed
      fem plot result.h5 -o all.png --field all

    Lines of equal potential are drawn at round values. The flow rate between any
    two neighbouring streamlines is the same. Speed and pressure are constant in each
    element.
    """
    from fem_core.cli.solve import draw
    from fem_core.io.files import result_format
    from fem_core.plot import check_fields, check_plot
    from fem_core.solution import read_solution

    fields = check_fields(fields)
    result_format(result)
    outputs = outputs or [result.with_suffix(".png")]
    for path in outputs:
        check_target(path, keep=result)
        check_plot(path)
    check_distinct(outputs)
    solution = read_solution(result)
    for path in outputs:
        say(f"wrote {draw(solution, path, fields)}")
