"""`fem tune`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fem_core.cli.console import print_json, say, show
from fem_core.cli.errors import judge
from fem_core.cli.options import PATH, everywhere
from fem_core.errors import BackendError, BackendUnavailable, Cancelled, FemError
from fem_core.plugins.registry import REGISTRY, Listing, State

if TYPE_CHECKING:
    from fem_core.mesh.mesh import Mesh
    from fem_core.tools.tuning import Trial, Tuning

_COLOURS = {"taken": "green", "refused": "red", "slower": "dim", "no gain": "dim"}


@click.command(short_help="Find the quickest options of backends on this machine.")
@click.argument("mesh", type=PATH, required=False)
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="May be repeated; by default all.")
@click.option(
    "--nodes",
    type=click.IntRange(min=100),
    multiple=True,
    default=(20_000, 100_000, 500_000),
    show_default=True,
    help="Sizes of y-tubes, where no MESH is given.",
)
@click.option("--repeats", type=click.IntRange(min=3), default=5, show_default=True, help="Rounds, after warming up.")
@click.option("--forget", is_flag=True, help="Remove what was found, and go back to the defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@everywhere
def tune(
    mesh: Path | None, backends: Sequence[str], nodes: Sequence[int], repeats: int, forget: bool, as_json: bool
) -> None:
    """Find options (threads, workers, sizes of batches) that are quicker than their
    defaults on this machine, and keep them for it.

    A backend says which of its options change speed and nothing else, and what to try.
    Each value is refused unless it builds the matrix of the default; then the two take
    turns, round after round, on meshes of several sizes. One is taken if it is quicker
    somewhere and slower nowhere, by over 10 % and by more than two equal ones differ.

    From then on a backend that is opened without any option gets them, and the report
    says so. `fem bench` and `fem verify` go by the defaults; with the environment
    variable FEM_TUNE=off everything does. Leave the machine alone meanwhile: it takes
    some minutes.

    \b
    Examples
      fem tune
      fem tune --backend numba --backend mp-shm
      fem tune tube.h5 --backend threads --repeats 9
      fem tune --forget
    """
    from fem_core.run import tuned_options

    listings = [REGISTRY.find(name) for name in dict.fromkeys(backends)]  # unknown ones are refused
    if forget:
        _print_forgotten(tuned_options.forget(backends or None), as_json)
        return
    for one in listings:
        if one.state is not State.READY:
            raise BackendUnavailable(f"backend {one.name!r} is {one.state}: {one.reason}")
        if not _tunable(one):
            others = ", ".join(other.name for other in REGISTRY.listings() if _tunable(other)) or "none"
            raise FemError(f"backend {one.name!r} has no option that can be tuned; backends that have: {others}")
    chosen = listings or [one for one in REGISTRY.listings() if one.state is State.READY and _tunable(one)]
    if not chosen:
        raise FemError("no backend that is ready has an option that can be tuned; `fem backends` lists them")

    tuned_options.prepare()  # what can't be kept isn't worth minutes

    from fem_core.cli.progress import Bars
    from fem_core.generate import y_tube
    from fem_core.io.files import read_mesh
    from fem_core.tools.tuning import tune as find

    with Bars() as bars:
        bars.begin("mesh")
        meshes = [read_mesh(mesh)] if mesh else [y_tube(nodes=size) for size in sorted(set(nodes))]
    sizes = [one.n_nodes for one in meshes]
    if not as_json:
        _print_heading(meshes, repeats)
    found: dict[str, Any] = {}
    failures: list[Exception] = []

    def failed(name: str, error: Exception) -> None:
        """Go on with the others, and end as it says."""
        failures.append(error)
        _, line = judge(error)
        what = line.removeprefix("fem: error: ")
        found.setdefault(name, {})["failed"] = what
        if not as_json:
            say(f"{name} failed: {what}\n")

    for one in chosen:
        try:
            with Bars() as bars:
                bars.begin(one.name)

                def told(candidate: str, mesh: "Mesh", round_: int, bars: Bars = bars) -> None:
                    what = f"round {round_}" if round_ > 0 else "warming up"
                    bars.show(max(0, round_), repeats, f"{candidate}, {mesh.n_nodes:,} nodes, {what}")

                tuning = find(one, meshes, repeats=repeats, on_round=told)
        except Cancelled:
            raise
        except (FemError, MemoryError) as error:
            if backends or not isinstance(error, BackendError):
                failed(one.name, error)
                continue
            found[one.name] = {"left_out": str(error)}
            if not as_json:
                say(f"left out {one.name}: {error}\n")
            continue
        if tuning.trials and not as_json:
            _print(one.name, tuning, sizes)
        found[one.name] = _plain(tuning)
        try:
            found[one.name]["file"] = str(tuned_options.store(one, tuning.options, sizes))
        except OSError as error:
            failed(one.name, error)
            continue
        if not as_json:
            values = " ".join(f"--option {option}={value}" for option, value in tuning.options.items())
            say(f"{one.name}: {f'from now on {values}' if values else 'the defaults are best'}\n")
    if as_json:
        from fem_core.tools.bench import machine

        print_json({"nodes": sizes, "repeats": repeats, "backends": found, "machine": machine()})
    if failures:
        raise failures[0]


def _tunable(one: Listing) -> bool:
    return bool(one.info and any(option.candidates for option in one.info.options))


def _plain(tuning: "Tuning") -> dict[str, Any]:
    """As an object of `fem tune --json`; lists go by mesh, a first run on it and one that comes again."""
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


def _print_heading(meshes: "Sequence[Mesh]", repeats: int) -> None:
    sizes = ", ".join(f"{one.n_nodes:,}" for one in meshes)
    say(f"{meshes[0].source}: {sizes} nodes; medians of {repeats} rounds.")
    say("ms of the backend's own stages, in a first run and with a pattern that comes again;")
    say("below, how many times as fast each value is as what was taken before it.\n")


def _print(name: str, tuning: "Tuning", sizes: Sequence[int]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(Text(name))
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
        table.add_row(f"{one.option}={one.value}", *cells, Text(verdict, _COLOURS.get(verdict, "")))
    show(table)
    for one in tuning.trials:
        if one.refused:
            say(f"{one.option}={one.value} is refused: {one.refused}")


def _filled(cells: list[str], width: int) -> list[str]:
    """With blanks for the situations that were left out."""
    return cells + [""] * (width - len(cells))


def _print_forgotten(gone: Sequence[Path], as_json: bool) -> None:
    if as_json:
        print_json({"removed": [str(path) for path in gone]})
    else:
        for path in gone:
            say(f"removed {path}")
        say("the defaults are used" if gone else "nothing was kept")
