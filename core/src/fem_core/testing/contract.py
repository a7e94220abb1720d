"""The named checks of a backend's behaviour: providers, events, progress, cancelling, wrong input, light imports."""

import math
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fem_core import generate
from fem_core.assembly.sparsity import compute_sparsity
from fem_core.backends.batched import BatchedBackend
from fem_core.errors import Cancelled, MeshError, OptionError
from fem_core.execution.executors import Executor
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.events import Event
from fem_core.plugins.registry import BACKENDS
from fem_core.plugins.stages import SOLVE_SYSTEM, STAGES, ComputeStage
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.support.progress import CancelToken
from fem_core.testing.checks import NotApplicable, check
from fem_core.testing.compare import assert_close, assert_stages, full_system, stages_of
from fem_core.testing.executors import EXECUTOR_CHECKS
from fem_core.testing.light import assert_light
from fem_core.testing.runs import assert_solution
from fem_core.testing.strategies import Case, many_elements
from fem_core.testing.target import Target, methods, performed, watched
from fem_core.types import Stage


@check("providers")
def check_providers(target: Target) -> None:
    """The backend does each stage that it lists, and the report says so."""
    mesh = generate.duct(nx=4, ny=2)
    for info, _ in target.session.backends:
        for method in info.solver_methods or ("cg",):
            providers = target.session.solve(mesh, solver=method).report.providers
            for stage in info.stages if len(target.session.backends) == 1 else ():
                assert providers[stage] == info.name, f"{stage} was done by {providers[stage]}"


@check("events")
def check_events(target: Target) -> None:
    """Stages start and end in order, progress rises to its total, and one event ends the run."""
    heard: list[Event] = []
    threads: set[int] = set()

    def listen(event: Event) -> None:
        heard.append(event)
        threads.add(threading.get_ident())

    mesh = target.large_case().mesh
    target.session.solve(mesh, solver="cg", on_event=listen)
    assert threads == {threading.get_ident()}, "events came from another thread than the caller's"
    names = [event.name for event in heard]
    assert names.count("fem:solveComplete") == 1 and names[-1] == "fem:solveComplete" and "fem:error" not in names
    order = ["load_mesh", "compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"]
    for name in ("fem:stageStart", "fem:stageComplete"):
        stages = [event.data["stage"] for event in heard if event.name == name]
        opening = [stage for stage in stages if stage in ("open_backend", "compile")]  # of a session's first run
        assert stages == opening + order, f"{name}: wrong order, {stages}"
    stage_of = {"fem:assemblyProgress": "assemble_system", "fem:derivedProgress": "compute_derived"}
    for name, stage in stage_of.items():
        values = [event.data["current"] for event in heard if event.name == name]
        assert values and values[-1] == mesh.n_elements, f"{stage} does not report its last element ({name})"
        assert values == sorted(values), f"{name} goes back"
        totals = {event.data["total"] for event in heard if event.name == name}
        assert totals == {mesh.n_elements}, f"{name} reports a total of {totals}"
    inside = ""
    for event in heard:
        if event.name == "fem:stageStart":
            inside = event.data["stage"]
        assert stage_of.get(event.name, inside) == inside, f"{event.name} in {inside}"
    steps = [event.data["iteration"] for event in heard if event.name == "fem:solveProgress"]
    assert steps and all(step % 50 == 0 for step in steps), f"solve progress at iterations {steps}, not every 50th"


#: The name and the data of each report of progress.
Heard: TypeAlias = list[tuple[str, dict[str, Any]]]


@check("progress")
def check_progress(target: Target) -> None:
    """Every report of progress, not only those that observers hear, is in order and comes from the caller's thread."""
    for case in (target.large_case(), many_elements(target.most(23_000))):
        heard: Heard = []
        threads: set[int] = set()

        def hear(hook: str, data: dict[str, Any], heard: Heard = heard, threads: set[int] = threads) -> None:
            heard.append((hook, data))
            threads.add(threading.get_ident())

        run = watched(target.session, hear)
        stages_of(target.session, case, run=run)
        for hook, stage in (("fem_assembly_progress", "assemble_system"), ("fem_derived_progress", "compute_derived")):
            values = [(data["current"], data["total"]) for name, data in heard if name == hook]
            _assert_rising(values, case.mesh.n_elements, stage)
        if "solve_system" in target.stages:
            for options in methods(target.session):
                heard.clear()
                options = replace(options, maxiter=30, monitor=10)
                result = run.perform(
                    SOLVE_SYSTEM, case.mesh, problem=case.problem, system=full_system(case), options=options
                )
                said = [(data["iteration"], data["residual"]) for name, data in heard if name == "fem_solve_progress"]
                history = dict(run.to_host(result, SOLVE_SYSTEM, case.mesh).history)
                steps = [iteration for iteration, _ in said]
                assert steps == sorted(steps), f"{options.method} reports the iterations {steps}"
                for iteration, residual in said:
                    assert math.isfinite(residual) and residual > 0, f"a residual of {residual} at {iteration}"
                    same = options.method != "cg" or residual == history.get(iteration, residual)
                    assert same, f"the report at {iteration} isn't the history's"
        count = len(heard)
        assert threads <= {threading.get_ident()}, "progress came from another thread than the caller's"
        time.sleep(0.02)
        assert len(heard) == count, "progress was reported after the end of the stage"


def _assert_rising(values: list[tuple[int, int]], total: int, stage: str) -> None:
    currents = [current for current, _ in values]
    assert currents and currents[-1] == total, f"{stage} does not report its last element"
    assert currents == sorted(currents), f"the progress of {stage} goes back: {currents[:20]}"
    assert currents[0] > 0 and currents.count(total) == 1, f"the progress of {stage} is {currents[:20]}"
    assert {of for _, of in values} == {total}, f"{stage} reports a total of {sorted({of for _, of in values})}"


class Stopper(CancelToken):
    """Is cancelled from its n-th look on, and counts the looks."""

    def __init__(self, at: float = math.inf) -> None:
        super().__init__()
        self.at, self.looks = at, 0

    @property
    def cancelled(self) -> bool:
        self.looks += 1
        return self.looks >= self.at


@check("cancellation")
def check_cancellation(target: Target) -> None:
    """Each stage obeys when it is cancelled or interrupted, at any time; then the numbers of the next run are right."""
    for case in (target.large_case(), many_elements(target.most(23_000))):
        large = case.mesh.n_elements > 9_999
        system, u = full_system(case), np.random.default_rng(0).normal(size=case.mesh.n_nodes)
        given = SolveResult(u, "given", 0, StopReason.CONVERGED, 0.0, 0.0)
        values: dict[Stage, dict[str, Any]] = {
            "assemble_system": {"problem": case.problem, "sparsity": compute_sparsity(case.mesh)},
            "compute_derived": {"problem": case.problem, "result": given},
        }
        for stage in ("assemble_system", "compute_derived"):
            if stage in target.stages:
                _check_stops(target, case, STAGES[stage], values[stage], must_look=True, brief=large)
        for options in methods(target.session) if "solve_system" in target.stages and not large else ():
            limited = replace(options, maxiter=60, monitor=7)
            solve = {"problem": case.problem, "system": system, "options": limited}
            before = performed(target.session, SOLVE_SYSTEM, case.mesh, **solve)
            _check_stops(target, case, SOLVE_SYSTEM, solve, must_look=before.iterations > 0)
            after = performed(target.session, SOLVE_SYSTEM, case.mesh, **solve)
            close = 1e-9 * np.abs(before.u).max()
            assert_close(after.u, before.u, close, f"u of {options.method} after a cancelled solve")
    mesh = target.large_case().mesh
    for moment in ("fem:assemblyProgress", "fem:solveProgress", "fem:derivedProgress"):
        token = CancelToken()
        heard: list[str] = []

        def listen(event: Event, moment: str = moment, token: CancelToken = token, heard: list[str] = heard) -> None:
            heard.append(event.name)
            if event.name == moment:
                token.cancel()

        try:
            target.session.solve(mesh, solver="cg", monitor=10, on_event=listen, cancel=token)
        except Cancelled:
            assert heard[-1] == "fem:error", "a cancelled run doesn't end with fem:error"
            after_it = heard[heard.index(moment) :]
            assert moment != "fem:solveProgress" or "fem:stageComplete" not in after_it, "the solve ran on to its end"
        else:
            # the last progress of the run comes when there is nothing left to cancel
            assert moment == "fem:derivedProgress", f"cancelling at {moment} has no effect"
    assert_solution(target.session.solve(mesh, solver="cg", rtol=1e-10), rtol=1.1e-10)


def _check_stops(
    target: Target, case: Case, stage: ComputeStage[Any], values: dict[str, Any], must_look: bool, brief: bool = False
) -> None:
    """Stop a stage at its first, a middle and its last look at the token, and by Ctrl-C; or only in the middle."""
    look = Stopper()
    watched(target.session, cancel=look).perform(stage, case.mesh, **values)
    inside = look.looks - 1  # the first look is the core's own
    assert inside > 0 or not must_look, f"{stage.name} never looks whether it is cancelled"
    middle = 2 + inside // 2 if inside > 1 else 2
    for at in sorted({middle} if brief else {2, middle, 1 + inside}) if inside else ():
        run = watched(target.session, cancel=Stopper(at))
        try:
            run.perform(stage, case.mesh, **values)
        except Cancelled:
            pass
        else:
            raise AssertionError(f"{stage.name}, cancelled at look {at - 1} of {inside}, runs on to its end")
        assert_stages(target.session, case)
    if brief:
        return

    def interrupt(hook: str, data: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    heard: list[str] = []
    watched(target.session, lambda hook, data: heard.append(hook)).perform(stage, case.mesh, **values)
    if heard:
        try:
            watched(target.session, interrupt).perform(stage, case.mesh, **values)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError(f"{stage.name} swallows a KeyboardInterrupt")
        assert_stages(target.session, case)


@check("bad_input")
def check_bad_input(target: Target) -> None:
    """Invalid meshes are refused with the element's number; the session can still be used."""
    mesh = generate.duct(nx=3, ny=2)
    x = mesh.x.copy()
    x[mesh.quad8[4, 2]] = np.nan
    quad8 = mesh.quad8.copy()
    quad8[4] = quad8[4][[0, 3, 2, 1, 7, 6, 5, 4]]
    for bad, named in ((replace(mesh, x=x), str(mesh.quad8[4, 2])), (replace(mesh, quad8=quad8), "4")):
        try:
            target.session.solve(Mesh(bad.x, bad.y, bad.quad8, bad.boundaries), solver="cg")
        except MeshError as error:
            assert named in str(error), f"the error doesn't name {named}: {error}"
        else:
            raise AssertionError("an invalid mesh was accepted")
    assert target.session.solve(mesh, solver="cg").report.converged


@check("light_import")
def check_light_import(target: Target) -> None:
    """Listing the backend imports only the core and the standard library, and not the backend's implementation."""
    names = {info.name: info for info, _ in target.session.backends}
    points = [point for point in metadata.entry_points(group=BACKENDS) if point.name in names]
    if not points:
        raise NotApplicable("the backend has no entry point")
    for point in points:
        assert_light(point.value, names[point.name].factory)


@check("info")
def check_info(target: Target) -> None:
    """The backend's description is complete: texts, stages, options, and functions that return what they should."""
    for info, backend in target.session.backends:
        assert info.summary.strip() and "\n" not in info.summary, "the summary must be one line"
        for name in ("available", "pending"):
            found = getattr(info, name)()
            assert found is None or (isinstance(found, str) and found), (
                f"{name}() returns {found!r}, not None or a text"
            )
        for path in info.caches():
            assert isinstance(path, Path), f"caches() gives {path!r}, not a pathlib.Path"
        for option in info.options:
            try:
                parsed = option.parse(option.default)
            except OptionError as error:
                raise AssertionError(f"the default of option {option.name} is refused: {error}") from error
            assert parsed == option.default, (
                f"the default of option {option.name} is {option.default!r}, read as {parsed!r}"
            )
            assert option.help.strip(), f"option {option.name} has no help"
        for stage in STAGES:
            reason = backend.declines(stage, Problem(), SolverOptions())
            assert reason is None or isinstance(reason, str), f"declines({stage!r}) returns {reason!r}"


@check("executor")
def check_executor(target: Target) -> None:
    """If the backend uses an executor, the executor alone obeys its contract."""
    batched = [n for n, (_, backend) in enumerate(target.session.backends) if isinstance(backend, BatchedBackend)]
    if not batched:
        raise NotApplicable("the backend isn't built on an executor")
    for number in batched:
        with ExitStack() as opened:

            def make(number: int = number, opened: ExitStack = opened) -> Executor:
                fresh = opened.enter_context(target.open()).backends[number][1]
                assert isinstance(fresh, BatchedBackend)
                return fresh.executor

            for run in EXECUTOR_CHECKS.values():
                run(make)
