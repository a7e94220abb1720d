"""A run's report as a table to read."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fem_core.cli.console import MOST_LINES, cell, left_out, say, show
from fem_core.problem import condition_text
from fem_core.support.wording import count

if TYPE_CHECKING:
    from rich.text import Text

    from fem_core.solution import Solution


def print_report(solution: "Solution", wrote: Iterable[str] = (), *, err: bool = False) -> None:
    """Print the stages with provider and seconds, the end of the solver, figures of the solution, warnings, files."""
    from rich.table import Table

    report = solution.report
    solver, figures = report.solver, report.solution
    mesh = " and ".join(count(report.mesh[key], key[:-1].replace("_", " ")) for key in ("nodes", "elements"))
    orphans = f" ({count(report.mesh['orphan_nodes'], 'orphan node')})" if report.mesh["orphan_nodes"] else ""
    say(f"{solution.mesh.source}: {mesh}{orphans}, backend {report.backend}", err=err)
    say(err=err)

    stages = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    stages.add_column("stage")
    stages.add_column("provider")
    stages.add_column("seconds", justify="right")
    for stage, seconds in report.seconds.items():
        stages.add_row(stage, cell(report.providers.get(stage, report.backend)), f"{seconds:.3f}")
    stages.add_row(cell("total", style="bold"), "", cell(f"{sum(report.seconds.values()):.3f}", style="bold"))
    show(stages, err=err)
    say(err=err)

    ended = str(solver["stop_reason"])
    if solver["iterations"]:
        ended += f" after {count(solver['iterations'], 'iteration')}"
    if not report.converged:
        ended = f"NOT CONVERGED, {ended}"
    facts = {
        "conditions": cell(
            *map(condition_text, report.conditions[:MOST_LINES]),
            *left_out(len(report.conditions), "condition"),
            "elsewhere: no flow through the boundary",
        ),
        "solver": cell(f"{solver['method']}: {ended}", style="" if report.converged else "bold red"),
        "residual": cell(_residuals(solver["relative_residual"], solver["true_relative_residual"])),
        "u": cell(
            f"{_rounded(figures['u_min'], figures):.9g} to {_rounded(figures['u_max'], figures):.9g} m²/s, "
            f"mean {figures['u_mean']:.6g}, deviation {figures['u_std']:.6g}"
        ),
        "speed": cell(f"at most {figures['speed_max']:.6g} m/s"),
        "pressure": cell(f"at least {figures['pressure_min']:,.1f} Pa"),
    }
    _print_facts(facts, err)
    if report.notes or report.warnings or wrote:
        say(err=err)
    for note in report.notes:
        say(f"note: {note}", err=err)
    for warning in report.warnings[:MOST_LINES]:
        say(warning, label="warning", colour="yellow", err=err)
    for line in left_out(len(report.warnings), "warning"):
        say(line, err=err)
    for line in wrote:
        say(f"wrote {line}", err=err)


def _print_facts(facts: Mapping[str, "Text"], err: bool) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 3, 0, 0), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(name, fact)
    show(table, err=err)


def _rounded(value: float, figures: Mapping[str, float]) -> float:
    """`value`, but 0 if it is only the small error that the penalty leaves at fixed nodes."""
    return 0.0 if abs(value) < 1e-12 * max(abs(figures["u_min"]), abs(figures["u_max"])) else value


def _residuals(equilibrated: float, true: float) -> str:
    return f"{equilibrated:.1e} relative (equilibrated system), {true:.1e} unscaled"
