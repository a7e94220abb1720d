"""How `fem tune` finds options: it compares the candidates of a backend with the defaults, on small and large meshes.

The mesh is not known when a backend is opened, so an option must be good for all meshes: a candidate is accepted if it
is faster in at least one case and slower in none. If the best value depends on the size of the mesh, no value is
accepted, unless the option is itself a size, such as the `min_size` of backends with workers.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from fem_core.assembly.system import LinearSystem
from fem_core.errors import BackendError, FemError
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.registry import Listing
from fem_core.problem import Problem
from fem_core.run.opening import open_backend
from fem_core.run.session import Session
from fem_core.solution import Solution
from fem_core.support.hardware import available_cores
from fem_core.tools.bench import EQUAL, assembled, in_turn, matrix_difference

#: A gain counts if it is more than this part of the time, and more than the difference between the default and its
#: twin, a second session with the same options.
MARGIN = 0.1

#: Fields that differ by less, relative to the largest value, are the same: a solver stops at 1e-8.
EQUAL_FIELDS = 1e-6

#: Told the candidate, as in `workers=1`, the mesh and the number of each round, up to 0 while warming up.
OnRound: TypeAlias = Callable[[str, Mesh, int], object]

#: Of the default, the candidate and the default's twin.
Sessions: TypeAlias = tuple[Session, Session, Session]


@dataclass
class Trial:
    """A candidate and its times in each situation: a first run on each mesh, and a run on a known pattern.

    Parameters
    ----------
    seconds, default : list of float
        Medians of the candidate and of the default; a candidate that is too slow isn't timed in all situations.
    ratios : list of float
        Medians of candidate / default in the same round.
    limits : list of float
        How far a ratio must be from 1 to count.
    refused : str
        Why it wasn't timed.
    """

    option: str
    value: Any
    seconds: list[float] = field(default_factory=list)
    default: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    refused: str = ""

    def add(self, candidate: Sequence[float], default: Sequence[float], twin: Sequence[float]) -> None:
        """Add the seconds of a situation, by round; the default's twin shows the noise."""
        self.seconds.append(statistics.median(candidate))
        self.default.append(statistics.median(default))
        self.ratios.append(statistics.median(_ratios(candidate, default)))
        self.limits.append(max(MARGIN, statistics.median(abs(ratio - 1) for ratio in _ratios(twin, default))))

    def slower(self, than: "Trial | None" = None) -> bool:
        """Whether it is slower in some situation than the default, or than another trial."""
        return any(ratio > 1 + limit for ratio, limit in self._beside(than))

    def better(self, than: "Trial | None" = None) -> bool:
        """Whether it is faster in some situation and slower in none."""
        return any(ratio < 1 - limit for ratio, limit in self._beside(than)) and not self.slower(than)

    def _beside(self, other: "Trial | None") -> Iterable[tuple[float, float]]:
        ratios = self.ratios if other is None else [a / b for a, b in zip(self.ratios, other.ratios, strict=True)]
        return zip(ratios, self.limits, strict=True)


@dataclass(frozen=True)
class Tuning:
    """The result for a backend: the options that are better than their defaults, and all trials."""

    options: Mapping[str, Any]
    trials: Sequence[Trial]


def tune(listing: Listing, meshes: Sequence[Mesh], *, repeats: int = 5, on_round: OnRound | None = None) -> Tuning:
    """Try the candidates of each option in turn, with those taken before it.

    Parameters
    ----------
    meshes : sequence of Mesh
        Small ones first: what is slower there isn't tried on others.
    repeats : int
        Rounds that count, in which a candidate, the default and its twin take turns.

    Raises BackendError if the backend can't be opened, or fails with its defaults.
    """
    taken: dict[str, Any] = {}
    trials: list[Trial] = []
    for option in listing.info.options if listing.info else ():
        try:
            values = option.values(available_cores())
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise BackendError(f"backend {listing.name!r} failed in candidates of {option.name!r}: {what}") from error
        if values:
            tried = [Trial(option.name, value) for value in values]
            _run(listing.name, taken, tried, meshes, repeats, on_round or (lambda *round_: None))
            if best := choose(tried):
                taken[option.name] = best.value
            trials += tried
    return Tuning(taken, trials)


def choose(trials: Iterable[Trial]) -> Trial | None:
    """The one to take: better than the default and than those listed before it; None if the default stays."""
    best = None
    for one in trials:
        if not (one.refused or one.slower()) and one.better(best):
            best = one
    return best


def _run(
    name: str, taken: Mapping[str, Any], trials: list[Trial], meshes: Sequence[Mesh], repeats: int, on_round: OnRound
) -> None:
    """Time the candidates of one option, one at a time: on many cores each session has many workers."""
    opened = partial(open_backend, name, tuned=False, **taken)
    with opened() as default, opened() as twin:
        for trial in trials:
            try:
                session = opened(**{trial.option: trial.value})
            except (FemError, MemoryError) as error:
                trial.refused = str(error) or "not enough memory"
                continue
            told = partial(on_round, f"{trial.option}={trial.value}")
            with session:
                _fill(trial, (default, session, twin), meshes, repeats, told)


def _fill(
    trial: Trial, sessions: Sessions, meshes: Iterable[Mesh], repeats: int, on_round: Callable[[Mesh, int], object]
) -> None:
    """Time a candidate beside the default and its twin, round by round, until it is slower somewhere."""
    default, session, twin = sessions
    for mesh in meshes:
        problem = Problem.potential_flow(mesh)
        wanted = _results(default, mesh, problem)
        try:
            trial.refused = _difference(_results(session, mesh, problem), wanted)
        except (FemError, MemoryError) as error:
            trial.refused = str(error) or "not enough memory"
        if trial.refused:
            return
        for again in (False, True):
            cases = {one: partial(_seconds, one, mesh, problem, again) for one in sessions}
            times = in_turn(cases, repeats, 3 if again else 1, partial(on_round, mesh))
            trial.add(times[session], times[default], times[twin])
            if trial.slower():
                return


def _results(session: Session, mesh: Mesh, problem: Problem) -> tuple[LinearSystem, Solution]:
    return assembled(session, mesh, problem), _solve(session, mesh, problem)


def _difference(found: tuple[LinearSystem, Solution], wanted: tuple[LinearSystem, Solution]) -> str:
    """What differs; empty if nothing does."""
    if not (difference := matrix_difference(found[0], wanted[0])) < EQUAL:
        return f"it builds a different matrix (difference {difference:.1e})"
    for name in ("u", "speed"):
        one, other = getattr(found[1], name), getattr(wanted[1], name)
        if not np.abs(one - other).max() <= EQUAL_FIELDS * np.abs(other).max():
            return f"it computes another {name}"
    return ""


def _seconds(session: Session, mesh: Mesh, problem: Problem, again: bool) -> float:
    """The seconds of the backend's own stages in one run: the first one on the mesh, or one `again`."""
    if not again:
        session.forget()
    report = _solve(session, mesh, problem).report
    return sum(took for stage, took in report.seconds.items() if report.providers.get(stage) == session.name)


def _solve(session: Session, mesh: Mesh, problem: Problem) -> Solution:
    """As `fem solve` does; a solver that isn't the backend's own is stopped at once."""
    ((info, _),) = session.backends
    if info.solver_methods:
        return session.solve(mesh, problem, solver="auto")
    return session.solve(mesh, problem, solver="cg", maxiter=1)


def _ratios(candidate: Sequence[float], default: Sequence[float]) -> list[float]:
    """candidate / default, round by round; 1 for a backend that did nothing."""
    return [a / b if b else 1.0 for a, b in zip(candidate, default, strict=True)]
