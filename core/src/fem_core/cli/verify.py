"""`fem verify`."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fem_core.cli.console import cell, print_json, say, show
from fem_core.cli.errors import Status
from fem_core.cli.options import as_mapping, backend_options, everywhere
from fem_core.errors import FemError
from fem_core.support import caches
from fem_core.support.wording import duration, pip_install

if TYPE_CHECKING:
    from fem_core.testing import CheckResult

_COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow", "expected failure": "yellow"}


@click.command(short_help="Check a backend against the reference.")
@backend_options(None, "NAME")
@click.option("--examples", type=click.IntRange(min=1), default=25, show_default=True, help="Random meshes per check.")
@click.option("--check", "checks", multiple=True, metavar="NAME", help="Run only this check; may be repeated.")
@click.option("--thorough", is_flag=True, help="Do what takes minutes, too: meshes of 600,000 elements, many runs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@everywhere
@click.pass_context
def verify(
    context: click.Context,
    backend: str | None,
    options: Sequence[tuple[str, str]],
    examples: int,
    checks: Sequence[str],
    thorough: bool,
    as_json: bool,
) -> None:
    """Run the conformance kit on a backend.

    The kit compares the backend with the reference on random meshes and problems:
    the matrix entry by entry, and the results. The outcome of each check is shown when
    the check ends. At the end is what the kit did not look at.

    \b
    Examples
      fem verify --backend numpy
      fem verify --backend numpy --option kernel=loop --examples 5
      fem verify --backend numpy --check matrix --check determinism
      fem verify --backend numpy --thorough

    The exit status is 1 if a check fails. This command needs hypothesis and pytest.
    """
    if not backend:
        from fem_core.plugins.registry import REGISTRY

        known = ", ".join(one.name for one in REGISTRY.listings())
        raise click.UsageError(f"name the backend to verify: --backend NAME, one of {known}", context)
    given = as_mapping(options)
    if not os.environ.get("HYPOTHESIS_STORAGE_DIRECTORY"):
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = _storage(context)
    try:
        from fem_core.testing import not_looked_at
        from fem_core.testing import verify as run_kit
    except ModuleNotFoundError as error:
        if error.name not in ("hypothesis", "pytest"):
            raise
        raise FemError(f"the conformance kit needs {error.name}: {pip_install('hypothesis', 'pytest')}") from error
    results = run_kit(
        backend,
        options=given,
        checks=list(checks) or None,
        examples=examples,
        thorough=thorough,
        on_result=None if as_json else _show,
    )
    counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in _COLOURS}
    if as_json:
        conforms = False if counts["failed"] else None if checks else True  # null: only some checks were run
        checked = [asdict(result) for result in results]
        unseen = not_looked_at(results)
        print_json(
            {"backend": backend, "conforms": conforms, "counts": counts, "checks": checked, "not_looked_at": unseen}
        )
    else:
        _print_summary(backend, counts, sum(result.seconds for result in results), whole=not checks)
        say("Not looked at:")
        for what in not_looked_at(results):
            say(f"  {what}")
    if counts["failed"]:
        context.exit(Status.FAILED)


def _storage(context: click.Context) -> str:
    """Where Hypothesis keeps its files; by itself, it would make a folder in the current folder."""
    kept = caches.cache_folder("hypothesis")
    try:
        caches.prepare(kept)
        return str(kept)
    except OSError as error:
        caches.warn(str(error))
        return context.with_resource(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))


def _show(result: "CheckResult") -> None:
    """Print the outcome of a check, and the reason if it didn't pass."""
    outcome = cell(f"{result.outcome:<17}", style=_COLOURS.get(result.outcome, ""))
    show(outcome + cell(f"{result.name:<32}{result.seconds:7.1f} s"))
    if result.detail and result.outcome != "passed":
        for line in result.detail.strip().splitlines():
            say(f"    {line}")


def _print_summary(backend: str, counts: Mapping[str, int], seconds: float, whole: bool) -> None:
    text = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number) or "no checks"
    verdict = cell("does not conform", style="bold red") if counts["failed"] else cell("conforms", style="bold green")
    if not whole and not counts["failed"]:
        verdict = cell("was checked in part", style="bold")
    say()
    show(cell(backend, style="bold") + cell(" ") + verdict + cell(f": {text}, in {duration(seconds)}"))
