"""The named checks of a backend's behaviour: providers, events, cancelling, cleaning up, light imports."""

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np

from fem_core import generate
from fem_core.errors import Cancelled, MeshError
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.events import Event
from fem_core.plugins.registry import BACKENDS
from fem_core.problem import Problem
from fem_core.run.session import Session
from fem_core.support.launch import python
from fem_core.support.progress import CancelToken
from fem_core.testing.checks import NotApplicable, check
from fem_core.testing.target import Target

#: Seconds that workers, threads and files may take to go after `close`.
_GRACE = 5.0


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


@check("cancellation")
def check_cancellation(target: Target) -> None:
    """A cancelled run raises Cancelled in assembly, solving and post-processing; the next run works."""
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
            after = heard[heard.index(moment) :]
            assert moment != "fem:solveProgress" or "fem:stageComplete" not in after, "the solve ran on to its end"
        else:
            # the last progress of the run comes when there is nothing left to cancel
            assert moment == "fem:derivedProgress", f"cancelling at {moment} has no effect"
    assert target.session.solve(mesh, solver="cg").report.converged, "the session is of no use after cancelling"


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


@check("input_unchanged")
def check_input_unchanged(target: Target) -> None:
    """The backend changes neither the mesh nor an array of the problem."""
    mesh = target.large_case().mesh
    rng = np.random.default_rng(0)
    given = {name: rng.uniform(1, 2, mesh.n_nodes) for name in ("gamma", "p", "outlet", "source")}
    given["conductivity"] = rng.uniform(1, 2, mesh.n_elements)
    arrays: dict[str, Any] = {**given, "x": mesh.x, "y": mesh.y, "quad8": mesh.quad8}
    before = {name: array.copy() for name, array in arrays.items()}
    target.session.solve(mesh, Problem.potential_flow(mesh, **given), solver="cg")  # type: ignore[arg-type]
    for name, array in arrays.items():
        assert np.array_equal(array, before[name]), f"{name} was changed"


@check("cleanup", deterministic=False)
def check_cleanup(target: Target) -> None:
    """After `close` (also after an error, or if called twice), no thread, process or shared memory is left."""
    before = _resources()
    for _, backend in target.unopened():
        made = _lasting(before, 0.2)
        assert not made, f"creating the backend already made {', '.join(sorted(made))}"
        backend.close()  # also if it was never opened, and twice
        backend.close()
    for fail in (False, True):
        session = target.open()
        case = target.large_case()
        session.solve(case.mesh, case.problem, solver="cg")
        if fail:
            token = CancelToken()
            token.cancel()
            try:
                session.solve(case.mesh, case.problem, solver="cg", cancel=token)
            except Cancelled:
                session.close()
        for _, backend in session.backends:
            backend.close()
        session.close()
        session.close()
        left = _lasting(before, _GRACE)
        assert not left, f"left behind after close: {', '.join(sorted(left))}"


def _lasting(before: set[str], seconds: float) -> set[str]:
    """Resources that weren't there `before` and still are after `seconds`, without those of other programs."""
    deadline = time.monotonic() + seconds
    left = _resources() - before - _of_other_programs()
    while left and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
        left &= _resources() - _of_other_programs()
    return left


def _resources() -> set[str]:
    """The current threads, child processes and shared memory segments."""
    found = {f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate()}
    found |= {f"process {child.name} ({child.pid})" for child in multiprocessing.active_children()}
    for children in Path("/proc/self/task").glob("*/children"):
        found |= {f"process {pid}" for pid in children.read_text().split()}
    kept = getattr(resource_tracker._resource_tracker, "_pid", None)  # Python's own process
    found -= {f"process {kept}"}
    shared = Path("/dev/shm")
    if sys.platform == "linux" and shared.is_dir():
        for path in shared.iterdir():
            with suppress(FileNotFoundError):  # a segment of another program that no longer exists
                found |= {str(path)} if path.stat().st_uid == os.getuid() else set()
    return found


def _of_other_programs() -> set[str]:
    """The segments in /dev/shm that other processes use, which are not descendants of this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    found = set()
    for pid in parents.keys() - ours:
        with suppress(OSError):  # it has ended, or belongs to another user
            process = Path("/proc", str(pid))
            held = [os.readlink(link) for link in (process / "fd").iterdir()]
            held += [line.split(maxsplit=5)[-1] for line in (process / "maps").read_text().splitlines()]
            found |= {path for path in held if path.startswith("/dev/shm/")}
    return found


@check("light_import")
def check_light_import(target: Target) -> None:
    """Listing the backend imports only the core and the standard library, and not the backend's implementation."""
    names = {info.name: info for info, _ in target.session.backends}
    points = [point for point in metadata.entry_points(group=BACKENDS) if point.name in names]
    if not points:
        raise NotApplicable("the backend has no entry point")
    for point in points:
        assert_light(point.value, names[point.name].factory)


def assert_light(entry_point: str, factory: str) -> None:
    """Load `entry_point` ("module:attribute") in a new interpreter, and check the modules that were imported."""
    program = (
        "import sys, fem_core; before = set(sys.modules)\n"
        f"from importlib.metadata import EntryPoint; EntryPoint('', {entry_point!r}, '').load()\n"
        "print(*(set(sys.modules) - before), sep='\\n')"
    )
    done = subprocess.run(python("-c", program), capture_output=True, text=True, check=True, timeout=120)
    loaded = done.stdout.split()
    package = entry_point.split(":")[0].split(".")[0]
    heavy = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {package, "fem_core"}
    assert not heavy, f"loading {entry_point} imports {', '.join(sorted(heavy))}"
    module = factory.split(":")[0]
    assert package == "fem_core" or module not in loaded, f"loading {entry_point} imports the implementation, {module}"


@check("threads", deterministic=False)
def check_threads(target: Target) -> None:
    """Threads that use one session at once, and two sessions side by side, all give the right result."""
    mesh = generate.annulus(nodes=3 * target.most(670))
    problems = [Problem.potential_flow(mesh, gamma=γ, conductivity=k) for γ, k in ((2.5, 1.0), (1.0, 2.0), (4.0, 0.5))]
    wanted = [target.baseline.solve(mesh, problem, solver="direct").u for problem in problems]
    found: dict[int, Any] = {}

    def solve(number: int, session: Session) -> None:
        try:
            found[number] = session.solve(mesh, problems[number], solver="cg", rtol=1e-10).u
        except BaseException as error:
            found[number] = error

    with target.open() as other:
        sessions = (target.session, target.session, other)
        jobs = [threading.Thread(target=solve, args=(n, session)) for n, session in enumerate(sessions)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(timeout=120)
    for number, u in enumerate(wanted):
        mine = found.get(number, "no answer")
        assert isinstance(mine, np.ndarray), f"thread {number} got {mine!r}"
        assert np.abs(mine - u).max() <= 1e-6 * np.abs(u).max(), f"thread {number} got another solution"
