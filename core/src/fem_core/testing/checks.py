"""What a check is, and the list of all of them; each compares a backend with the reference or checks a rule."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from fem_core.testing.strategies import Case, cases, special_cases
from fem_core.testing.target import Target
from fem_core.types import Stage

Run: TypeAlias = Callable[[Target], None]
RunOnCase: TypeAlias = Callable[[Target, Case], None]


class NotApplicable(Exception):
    """Raised by a check that doesn't apply to this backend; the text gives the reason."""


@dataclass(frozen=True)
class Check:
    """A named check.

    Parameters
    ----------
    name, summary : str
    run : function of a Target
        Raises AssertionError with the difference.
    stage : str or None
        The check is skipped for backends that don't provide this stage.
    deterministic : bool
        Whether the outcome is always the same; an expected failure must then fail.
    """

    name: str
    run: Run
    stage: Stage | None = None
    deterministic: bool = True

    @property
    def summary(self) -> str:
        return (self.run.__doc__ or "").strip().splitlines()[0]


CHECKS: dict[str, Check] = {}


def check(name: str, stage: Stage | None = None, deterministic: bool = True) -> Callable[[Run], Run]:
    """Add a function to the kit under `name`."""

    def add(run: Run) -> Run:
        CHECKS[name] = Check(name, run, stage, deterministic)
        return run

    return add


def check_on_cases(name: str, stage: Stage | None = None) -> Callable[[RunOnCase], Run]:
    """Add a function to the kit that is called with special and drawn cases, and with a large one."""

    def add(run: RunOnCase) -> Run:
        def run_all(target: Target) -> None:
            for case in special_cases():
                run(target, case)
            target.for_all(cases(), partial(run, target))
            run(target, target.large_case())

        run_all.__doc__ = run.__doc__
        return check(name, stage)(run_all)

    return add
