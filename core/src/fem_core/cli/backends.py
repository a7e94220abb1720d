"""`fem backends`."""

from typing import TYPE_CHECKING, Any

import click

from fem_core.cli.console import cell, print_json, say, show, show_facts
from fem_core.cli.options import everywhere, positive
from fem_core.plugins.registry import REGISTRY, Listing, State

if TYPE_CHECKING:
    from rich.text import Text

_COLOURS = {State.READY: "green", State.UNAVAILABLE: "yellow", State.DISABLED: "dim"}

timeout_option = click.option(
    "--timeout",
    type=float,
    default=60.0,
    show_default=True,
    callback=positive,
    help="Time limit of each backend in seconds.",
)


@click.command(short_help="List the backends; give the reason if one can't run.")
@click.option("--probe", is_flag=True, help="Solve a small problem with each ready backend, in a separate process.")
@timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@everywhere
def backends(probe: bool, timeout: float, as_json: bool) -> None:
    """List every installed backend: its state, and the reason if it can't run.

    \b
    States
      ready         everything it needs is installed; --probe tests it
      unavailable   something it needs is missing; the reason says what
      incompatible  made for another version of fem-core
      disabled      switched off by the environment variable FEM_DISABLE
      conflict      two distributions provide a backend of this name
      failed        its distribution is broken

    \b
    Examples
      fem backends
      fem backends --probe
      fem backends --json

    Without --probe, the backends themselves are not loaded, only their short descriptions.
    """
    listings = REGISTRY.listings()
    verdicts: dict[str, str | None] = {}
    if probe:
        from fem_core.cli.progress import Bars
        from fem_core.tools.backend_check import probe as run_probe

        with Bars() as bars:
            for one in listings:
                if one.state is State.READY:
                    bars.begin(f"probe {one.name}")
                    verdicts[one.name] = run_probe(one.name, timeout)
    if as_json:
        print_json([describe(one, verdicts) for one in listings])
    else:
        _print(listings, verdicts)


def describe(one: Listing, verdicts: dict[str, str | None]) -> dict[str, Any]:
    """A backend as an object of `fem backends --json`; entries that a broken backend can't give are null or empty."""
    from fem_core.run.opening import tuning_of

    info = one.info
    found: dict[str, Any] = {
        "name": one.name,
        "state": str(one.state),
        "reason": one.reason,
        "distribution": one.distribution,
        "summary": info.summary if info else "",
        "device": info.device if info else None,
        "stages": list(info.stages) if info else [],
        "solver_methods": list(info.solver_methods) if info else [],
        "options": [
            {
                "name": option.name,
                "type": option.type.__name__,
                "default": option.default,
                "choices": list(option.choices),
                "help": option.help,
            }
            for option in (info.options if info else ())
        ],
        "tuned": {"day": kept.day, "options": dict(kept.options)} if (kept := tuning_of(one)) else None,
    }
    if one.name in verdicts:
        reason = verdicts[one.name]
        found["probe"] = {"works": reason is None, "reason": reason or ""}
    return found


def _print(listings: list[Listing], verdicts: dict[str, str | None]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading, wrap in (("name", False), ("state", False), ("distribution", False), ("summary, or the reason", True)):
        table.add_column(heading, no_wrap=not wrap, overflow="fold")
    for one in listings:
        state = cell(one.state, style=_COLOURS.get(one.state, "red"))
        table.add_row(cell(one.name, style="bold"), state, cell(one.distribution), _about(one, verdicts))
    show(table)
    for one in listings:
        if one.info:
            _print_details(one)
    for name, failure in REGISTRY.plugin_failures.items():
        say()
        say(f"{name}: {failure}", label="plugin left out", colour="red")


def _about(one: Listing, verdicts: dict[str, str | None]) -> "Text":
    summary = one.info.summary if one.info else ""
    text = cell(one.reason + f" ({summary})" * bool(summary) if one.reason else summary)
    if one.name in verdicts:
        reason = verdicts[one.name]
        text.append("\n")
        text.append_text(
            cell("probe: solved a small duct", style="green")
            if reason is None
            else cell(f"probe failed: {reason}", style="red")
        )
    return text


def _print_details(one: Listing) -> None:
    """Stages, solvers and options of a backend."""
    from fem_core.run.opening import tuning_of

    info = one.info
    assert info
    say()
    title = cell(info.name, style="bold")
    show(title + cell(f" ({info.device}): {', '.join(info.stages) or 'no stages'}"))
    if info.solver_methods:
        say(f"  --solver {', '.join(info.solver_methods)}")
    facts = {}
    for option in info.options:
        default = "…" if option.default is None else option.default
        choices = f": {' or '.join(map(str, option.choices))}" if option.choices else ""
        facts[f"--option {option.name}={default}"] = option.help + choices
    if facts:
        show_facts(facts)
    if kept := tuning_of(one):
        say(f"  {kept}")
