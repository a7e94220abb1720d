"""`fem tune`."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from fem_core.cli.console import cell, print_json, say, show
from fem_core.cli.errors import judge
from fem_core.cli.options import PATH, everywhere, mesh_options
from fem_core.errors import BackendError, BackendUnavailable, Cancelled, FemError
from fem_core.io.files import ReadOptions
from fem_core.plugins.registry import REGISTRY, Listing, State

if TYPE_CHECKING:
    from fem_core.mesh.mesh import Mesh
    from fem_core.tools.tuning import Trial, Tuning

_COLOURS = {"taken": "green", "refused": "red", "slower": "dim", "no gain": "dim"}


@click.command(short_help="Find the fastest options of backends on this machine.")
@click.argument("mesh", type=PATH, required=False)
@click.option(
    "--backend", "backends", multiple=True, metavar="NAME", help="Backend to tune; may be repeated. Default: all."
)
@click.option(
    "--nodes",
    type=click.IntRange(min=100),
    multiple=True,
    default=(20_000, 100_000, 500_000),
    show_default=True,
    help="Number of nodes of a y-tube if no MESH is given; may be repeated.",
)
@click.option(
    "--repeats", type=click.IntRange(min=3), default=5, show_default=True, help="Timed rounds, after the warm-up."
)
@mesh_options
@click.option("--forget", is_flag=True, help="Delete the saved options; the defaults apply again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@everywhere
def tune(
    mesh: Path | None,
    backends: Sequence[str],
    nodes: Sequence[int],
    repeats: int,
    forget: bool,
    as_json: bool,
    **options: Unpack[ReadOptions],
) -> None:
    """Find options (threads, workers, batch sizes) that are faster than the defaults
    on this machine, and save them.

    Each backend lists the options that change only its speed, and the values to try. A
    value is refused if it changes the matrix. Otherwise the value and the default take
    turns, round after round, on meshes of several sizes. A value is accepted if it is
    faster on at least one of these meshes and slower on none. A difference counts if it
    is over 10 % and larger than the difference between two identical runs.

    The saved options apply to a backend that is opened without options, and the report
    then says so. `fem bench` and `fem verify` always use the defaults. With the
    environment variable FEM_TUNE=off, all commands use the defaults. Tuning takes
    some minutes; run nothing else on the machine during this time.

    \b
    Examples
      fem tune
      fem tune --backend numba --backend mp-shm
      fem tune tube.h5 --backend threads --repeats 9
      fem tune --forget
    """
    from fem_core.cli.progress import Bars
    from fem_core.generate import y_tube
    from fem_core.io.files import read_mesh
    from fem_core.run import tuned_options

    if forget:
        for name in backends:
            REGISTRY.find(name)  # an unknown one is refused
        _print_forgotten(tuned_options.forget(backends or None), as_json)
        return
    chosen = _chosen(backends)
    tuned_options.prepare()  # fails now, not after minutes, if nothing can be saved
    with Bars() as bars:
        bars.begin("mesh")
        meshes = [read_mesh(mesh, **options)] if mesh else [y_tube(nodes=size) for size in sorted(set(nodes))]
    sizes = [one.n_nodes for one in meshes]
    tell: Callable[[str], object] = (lambda text: None) if as_json else say
    tell(f"{meshes[0].source}: {', '.join(f'{size:,}' for size in sizes)} nodes; medians of {repeats} rounds.")
    tell("Time in ms of the backend's own stages, in a first run and in one with a known pattern (again).")
    tell("The rows below the defaults give the speed of each value, relative to the best value above it.")
    tell("")
    results: dict[str, Any] = {}
    failures: list[Exception] = []
    for one in chosen:
        name, result = one.name, results.setdefault(one.name, {})
        try:
            tuning = _find(one, meshes, repeats)
            result |= _plain(tuning)
            if tuning.trials and not as_json:
                _print(name, tuning, sizes)
            result["file"] = str(tuned_options.store(one, tuning.options, sizes))
            values = " ".join(f"--option {option}={value}" for option, value in tuning.options.items())
            tell(f"{name}: {f'saved {values}' if values else 'the defaults are best'}")
        except Cancelled:
            raise
        except (FemError, MemoryError, OSError) as error:
            if isinstance(error, BackendError) and not backends:
                result["left_out"] = str(error)
                tell(f"left out {name}: {error}")
            else:  # the other backends are still tuned; the command then ends with this error
                failures.append(error)
                result["failed"] = judge(error)[1].removeprefix("fem: error: ")
                tell(f"{name} failed: {result['failed']}")
        tell("")
    if as_json:
        from fem_core.tools.bench import machine

        print_json({"nodes": sizes, "repeats": repeats, "backends": results, "machine": machine()})
    if failures:
        raise failures[0]


def _chosen(backends: Sequence[str]) -> list[Listing]:
    """The backends that are named, or all that are ready and have something to tune; refuses others by name."""
    from fem_core.run.opening import tunable

    named = [REGISTRY.find(name) for name in dict.fromkeys(backends)]
    for one in named:
        if one.state is not State.READY:
            raise BackendUnavailable(f"backend {one.name!r} is {one.state}: {one.reason}")
        if not tunable(one):
            others = ", ".join(other.name for other in REGISTRY.listings() if tunable(other)) or "none"
            raise FemError(f"backend {one.name!r} has no option to tune; backends that have one: {others}")
    chosen = named or [one for one in REGISTRY.listings() if one.state is State.READY and tunable(one)]
    if not chosen:
        raise FemError("no ready backend has an option to tune; `fem backends` lists the backends")
    return chosen


def _find(one: Listing, meshes: "Sequence[Mesh]", repeats: int) -> "Tuning":
    """The options of one backend, with a bar that shows the rounds."""
    from fem_core.cli.progress import Bars
    from fem_core.tools.tuning import tune as find

    with Bars() as bars:
        bars.begin(one.name)

        def on_round(candidate: str, mesh: "Mesh", round_: int) -> None:
            what = f"round {round_}" if round_ > 0 else "warming up"
            bars.show(max(0, round_), repeats, f"{candidate}, {mesh.n_nodes:,} nodes, {what}")

        return find(one, meshes, repeats=repeats, on_round=on_round)


def _plain(tuning: "Tuning") -> dict[str, Any]:
    """As an object of `fem tune --json`; lists have two values per mesh: first run, run on a known pattern."""
    trials = [
        {
            "option": one.option,
            "value": one.value,
            "seconds": one.seconds,
            "default_seconds": one.default,
            "ratio": one.ratios,
            "least": one.limits,
            "verdict": _verdict(one, tuning),
            "refused": one.refused,
        }
        for one in tuning.trials
    ]
    return {"options": dict(tuning.options), "trials": trials}


def _verdict(trial: "Trial", tuning: "Tuning") -> str:
    if trial.refused:
        return "refused"
    if trial.slower():
        return "slower"
    taken = trial.better() and tuning.options.get(trial.option) == trial.value
    return "taken" if taken else "quicker" if trial.better() else "no gain"


def _print(name: str, tuning: "Tuning", sizes: Sequence[int]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(cell(name))
    for size in sizes:
        table.add_column(f"{round(size, 2 - len(str(size))):,}", justify="right")
        table.add_column("again", justify="right")
    table.add_column()
    width = 2 * len(sizes)
    first = next((one for one in tuning.trials if len(one.default) == width), tuning.trials[0])
    table.add_row("defaults", *_filled([f"{1e3 * took:.1f}" for took in first.default], width))
    for one in tuning.trials:
        verdict = _verdict(one, tuning)
        cells = _filled([f"{1 / ratio if ratio else math.inf:.2f}" for ratio in one.ratios], width)
        table.add_row(cell(f"{one.option}={one.value}"), *cells, cell(verdict, style=_COLOURS.get(verdict, "")))
    show(table)
    for one in tuning.trials:
        if one.refused:
            say(f"{one.option}={one.value} is refused: {one.refused}")


def _filled(cells: list[str], width: int) -> list[str]:
    """`cells`, with blanks for the situations that weren't timed."""
    return cells + [""] * (width - len(cells))


def _print_forgotten(gone: Sequence[Path], as_json: bool) -> None:
    if as_json:
        print_json({"removed": [str(path) for path in gone]})
    else:
        for path in gone:
            say(f"removed {path}")
        say("the defaults apply again" if gone else "no options were saved")
