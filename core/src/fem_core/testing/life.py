"""The named checks of a session's life: what it leaves behind, what it keeps, side effects, lost workers, threads."""

import contextlib
import gc
import io
import os
import signal
import threading
import tracemalloc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np

from fem_core import generate
from fem_core.errors import Cancelled, FemError
from fem_core.problem import Dirichlet, Problem, Robin
from fem_core.run.session import Session
from fem_core.support.progress import CancelToken
from fem_core.testing.checks import NotApplicable, check
from fem_core.testing.compare import assert_stages
from fem_core.testing.deadline import within
from fem_core.testing.strategies import Case, renumbered, wave
from fem_core.testing.surroundings import (
    CHANGED_BY_OTHERS,
    GRACE,
    changes,
    children,
    lasting,
    open_files,
    own_temporary_folder,
    own_threads,
    resources,
    surroundings,
    unusual_settings,
)
from fem_core.testing.target import Target, methods

#: Seconds in which a run must end although it has lost a worker.
_DEADLINE = 60.0


@check("cleanup", deterministic=False)
def check_cleanup(target: Target) -> None:
    """After `close` (also after an error, or if called twice), no thread, process, file or shared memory is left."""
    with own_threads() as mine, own_temporary_folder() as folder:
        before = resources(mine)
        for _, backend in target.unopened():
            made = lasting(before, 0.2, mine)
            assert not made, f"creating the backend already made {', '.join(sorted(made))}"
            backend.close()  # also if it was never opened, and twice
            backend.close()
        _live(target, fail=False)  # what is made once in a process may stay
        for fail in (False, True):
            always: set[str] = set()
            for again in (False, True):  # what only one session leaves behind isn't the backend's
                before, names = resources(mine), set(os.listdir(folder))
                _live(target, fail)
                left = {_kind(one): one for one in lasting(before, GRACE, mine)}
                left |= {_kind(f"file {name}"): f"file {name}" for name in set(os.listdir(folder)) - names}
                always = always & left.keys() if again else set(left)
                if not always:
                    break
            assert not always, f"left behind after close: {', '.join(sorted(left[kind] for kind in always))}"


def _kind(name: str) -> str:
    return name.split("/")[1] if name.startswith("/") else name.split()[0]


def _live(target: Target, fail: bool) -> None:
    """A session from `open` to `close`."""
    session = target.open()
    case = target.typical_case()
    session.solve(case.mesh, case.problem, solver="cg")
    if fail:
        with contextlib.suppress(Cancelled):
            session.solve(case.mesh, case.problem, solver="cg", cancel=_cancelled_in_the_middle())
    for _, backend in session.backends:
        backend.close()
    session.close()
    session.close()


def _cancelled_in_the_middle() -> CancelToken:
    class Soon(CancelToken):
        looks = 0

        @property
        def cancelled(self) -> bool:
            self.looks += 1
            return self.looks > 4

    return Soon()


@check("growth", deterministic=False)
def check_growth(target: Target) -> None:
    """Runs on new meshes leave no thread, process, file or array behind, each time; meshes are free after `forget`."""
    most = target.most(256 if target.fast else 64)
    first = generate.duct(nx=max(1, most // 8), ny=min(8, most))
    rng = np.random.default_rng(0)
    living: list[weakref.ref[Any]] = []

    def run() -> None:
        mesh = renumbered(first, rng)
        problem = Problem((Robin("inlet", 2.5, 0.1), Dirichlet("outlet", 1.0)), 1 + rng.random(first.n_elements), wave)
        solution = session.solve(mesh, problem, solver="cg")
        living.extend(weakref.ref(one) for one in (mesh, solution.u, solution.velocity, solution.speed))

    def take(number: int) -> dict[str, float]:
        """What there is after so many runs."""
        for _ in range(number):
            run()
        gc.collect()
        found: dict[str, float] = {"threads": len(mine.threads()), "processes": len(children())}
        found["open files"] = open_files() or 0
        found["temporary files"] = len(os.listdir(folder))
        arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)  # other threads allocate objects, too
        traces = tracemalloc.take_snapshot().filter_traces([arrays]).traces if tracemalloc.is_tracing() else ()
        found["bytes of arrays"] = sum(trace.size for trace in traces)
        return found

    runs = 500 if target.thorough else 8
    tracing = tracemalloc.is_tracing()
    with own_threads() as mine, own_temporary_folder() as folder:
        session = target.open()
        try:
            take(10)  # what is kept for the next runs is kept now
            if not tracing:
                tracemalloc.start()
            # memory that is taken before isn't traced, so the first growth is larger
            take(3)
            before, after = take(1), take(runs)
            least = dict.fromkeys(before, runs / 2) | {"bytes of arrays": runs * 8 * first.n_nodes}
            for name, value in after.items():
                grown = value - before[name]
                assert grown < least[name], f"{grown:,.0f} more {name} after {runs} more runs on new meshes"
            alive = sum(one() is not None for one in living) / 4
            assert alive <= 16, f"the meshes or results of {alive:.0f} runs are kept"
            session.forget()
            gc.collect()
            alive = sum(one() is not None for one in living)
            assert not alive, f"{alive} meshes or results are kept after `forget`"
        finally:
            if not tracing:
                tracemalloc.stop()
            session.close()


@check("reopening", deterministic=False)
def check_reopening(target: Target) -> None:
    """A session can be opened again after `close`; closing one session doesn't disturb another."""
    case = target.typical_case()
    with target.open() as other:
        session = target.open()
        for time in ("first", "second", "third"):
            session.open()
            try:
                assert_stages(session, case)
                assert session.solve(case.mesh, case.problem, solver="cg").report.converged
            except Exception as error:
                raise AssertionError(f"opened for the {time} time: {type(error).__name__}: {error}") from error
            finally:
                session.close()
        try:
            assert_stages(other, case)
        except Exception as error:
            raise AssertionError(f"after another session was closed: {type(error).__name__}: {error}") from error


@check("lost_workers", deterministic=False)
def check_lost_workers(target: Target) -> None:
    """If a worker process dies between two runs, the next run is right or says so, and the one after it is right."""
    case = target.typical_case()
    before = children()
    with target.open() as session:
        assert_stages(session, case)
        if not (workers := sorted(children().keys() - before.keys())):
            raise NotApplicable("the backend has no processes of its own")
        for round_ in range(2):
            os.kill(workers[round_ % len(workers)], getattr(signal, "SIGKILL", signal.SIGTERM))
            try:
                within(_DEADLINE, "after a worker was lost", lambda: assert_stages(session, case))
            except FemError:
                within(_DEADLINE, "after a worker was lost", lambda: assert_stages(session, case))
            workers = sorted(children().keys() - before.keys())
            assert workers, "the run after a lost worker has no worker any more"


@check("side_effects")
def check_side_effects(target: Target) -> None:
    """A session changes no setting of the process, such as NumPy's random seed or `np.errstate`, and prints nothing."""
    _ = target.session
    case = target.typical_case()
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out), unusual_settings():
        before = surroundings()
        session = target.open()
        try:
            assert_stages(session, case)
            for options in methods(session):
                session.solve(case.mesh, case.problem, solver=options.method)
            with contextlib.suppress(Cancelled):
                session.solve(case.mesh, case.problem, solver="cg", cancel=_cancelled_in_the_middle())
            session.forget()
        finally:
            session.close()
        wrong = set(changes(before, surroundings()))
    # what the backend changed before, when it was first opened
    wrong |= set(changes(target.before, surroundings())) - CHANGED_BY_OTHERS
    assert not wrong, f"a session changes {', '.join(sorted(wrong))}"
    assert not out.getvalue().strip(), f"a session prints {out.getvalue().strip()[:200]!r}"


@check("threads", deterministic=False)
def check_threads(target: Target) -> None:
    """Threads that use one session at once, and two sessions side by side, all give the right result."""
    mesh = generate.annulus(nodes=3 * target.most(670))
    k = 1 + np.random.default_rng(0).random(mesh.n_elements)
    problems = [
        Problem.potential_flow(mesh, gamma=γ, conductivity=s * k) for γ, s in ((2.5, 1.0), (1.0, 2.0), (4.0, 0.5))
    ]
    wanted = [target.numpy.solve(mesh, problem, solver="direct").u for problem in problems]
    found: dict[int, Any] = {}
    barrier = threading.Barrier(3)

    def work(number: int, session: Session) -> None:
        other = replace(mesh, y=(1 + number) * mesh.y)
        try:
            barrier.wait(timeout=60)
            for _ in range(3):
                with session.exclusive():  # as `solve` does
                    assert_stages(session, Case(other, replace(problems[number], source=wave)))
            found[number] = session.solve(mesh, problems[number], solver="cg", rtol=1e-10).u
        except BaseException as error:
            found[number] = error

    with target.open() as other:
        sessions = (target.session, target.session, other)
        jobs = [threading.Thread(target=work, args=(n, session)) for n, session in enumerate(sessions)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(timeout=120)
    for number, u in enumerate(wanted):
        mine = found.get(number, "no answer")
        assert isinstance(mine, np.ndarray), f"thread {number} got {mine!r}"
        assert np.abs(mine - u).max() <= 1e-6 * np.abs(u).max(), f"thread {number} got another solution"
