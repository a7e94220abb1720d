"""Events: their order, the one that closes a run, throttling, failing observers, and plain callables."""

import json
import threading

import fakes
import fem_core as fem
import pytest
from fakes import loopback
from fem_core.plugins import events
from fem_core.plugins.stages import SOLVE_SYSTEM
from fem_core.run.runner import Run

ORDER = ["load_mesh", "compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"]


@pytest.fixture
def mesh():
    return fakes.mesh(8, 4)


class Clock:
    """Stands still unless told to go on."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(events.time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Scripted(fem.plugins.Backend):
    """A backend whose assembly is a function of the progress."""

    def __init__(self, script):
        self.script = script

    @fem.plugins.hookimpl
    def fem_assemble(self, mesh, problem, sparsity, progress):
        self.script(progress)
        return fem.assemble_system(mesh, problem, sparsity)


def run(mesh, script=lambda progress: None, **options):
    info = fem.plugins.BackendInfo("scripted", "", "", stages=("assemble_system",))
    with fem.Session([(info, Scripted(script))]) as session:
        return session.solve(mesh, **{"solver": "cg", **options})


# order


@pytest.mark.parametrize("outputs", [False, True])
def test_order_of_a_good_run(mesh, clock, outputs, tmp_path):
    recorder = fakes.Recorder()
    options = {"outputs": [tmp_path / "out.h5"]} if outputs else {}
    solution = fem.solve(mesh, backend="numpy", solver="cg", monitor=10**6, observers=[recorder], **options)
    expected = []
    between = {
        "assemble_system": ["fem_assembly_progress"],
        "compute_derived": ["fem_derived_progress"],
    }
    for stage in ORDER + ["write"] * outputs:
        expected += ["fem_stage_start", *between.get(stage, []), "fem_stage_complete"]
        if stage == "load_mesh":
            expected.append("fem_mesh_loaded")
    assert recorder.names() == [*expected, "fem_solve_complete"]
    starts = [e for name, e in recorder.heard if name == "fem_stage_start"]
    ends = [e for name, e in recorder.heard if name == "fem_stage_complete"]
    assert [e["stage"] for e in starts] == [e["stage"] for e in ends] == ORDER + ["write"] * outputs
    assert [e["provider"] for e in starts] == [e["provider"] for e in ends] == list(solution.report.providers.values())
    assert {e["stage"]: e["duration"] for e in ends}.items() <= dict(solution.report.seconds).items()
    assert recorder.heard[-1][1]["report"] is solution.report
    assert dict(recorder.heard)["fem_assembly_progress"] == {"current": 32, "total": 32}
    if outputs:
        assert (tmp_path / "out.h5").exists()


def test_solve_progress_carries_true_residuals(mesh):
    recorder = fakes.Recorder()
    solution = fem.solve(mesh, backend="numpy", solver="cg", monitor=5, observers=[recorder])
    heard = [(e["iteration"], e["residual"]) for name, e in recorder.heard if name == "fem_solve_progress"]
    assert heard
    assert set(heard) <= set(solution.report.history)


# the one that closes a run


def closing(mesh, expected, *, stage=None, script=lambda progress: None, source=None, **options):
    first, last = fakes.Recorder(), fakes.Recorder()
    watchers = [first, *options.pop("observers", []), last]
    if expected is None:
        run(source or mesh, script, observers=watchers, **options)
    else:
        with pytest.raises(expected):
            run(source or mesh, script, observers=watchers, **options)
    for recorder in (first, last):
        assert recorder.ends() == ["fem_solve_complete" if expected is None else "fem_error"]
        assert recorder.names()[-1] == recorder.ends()[0]
    heard = first.heard[-1][1]
    if expected is not None:
        assert heard["stage"] == stage
        assert isinstance(heard["error"], expected)
    return first


def _fail(error):
    def script(progress):
        raise error

    return script


def test_success(mesh):
    closing(mesh, None)


def test_not_converged_is_complete(mesh):
    recorder = closing(mesh, None, maxiter=2)
    assert not recorder.heard[-1][1]["report"].converged


def test_mesh_error(mesh, tmp_path):
    closing(mesh, fem.MeshError, stage="load_mesh", source=tmp_path / "none.h5")
    folded = fem.Mesh(mesh.x, mesh.y, mesh.quad8[:, [0, 2, 1, 3, 4, 5, 6, 7]], mesh.boundaries)
    closing(mesh, fem.MeshError, stage="load_mesh", source=folded)


def test_problem_error(mesh):
    nowhere = fem.Problem((fem.Dirichlet("nowhere"),))
    closing(mesh, fem.ProblemError, stage="load_mesh", problem=nowhere)


def test_backend_failure(mesh):
    closing(mesh, fem.BackendError, stage="assemble_system", script=_fail(ValueError("batch 3")))


def test_system_exit_in_a_stage(mesh):
    closing(mesh, fem.BackendError, stage="assemble_system", script=_fail(SystemExit(0)))


def test_ctrl_c_in_a_stage(mesh):
    closing(mesh, KeyboardInterrupt, stage="assemble_system", script=_fail(KeyboardInterrupt()))


def test_ctrl_c_in_the_core(mesh, monkeypatch):
    from fem_core.solvers import ConjugateGradients

    monkeypatch.setattr(ConjugateGradients, "prepare", lambda *arguments: _fail(KeyboardInterrupt())(None))
    closing(mesh, KeyboardInterrupt, stage="solve_system")


@pytest.mark.parametrize(
    "hook", ["fem_stage_start", "fem_mesh_loaded", "fem_assembly_progress", "fem_derived_progress"]
)
def test_ctrl_c_in_an_observer(mesh, hook):
    recorder = fakes.Recorder()

    def interrupt(self):
        raise KeyboardInterrupt

    watch = type("Watch", (), {hook: fem.plugins.hookimpl(interrupt)})()
    with pytest.raises(KeyboardInterrupt):
        fem.solve(mesh, backend="numpy", observers=[recorder, watch], solver="cg")
    assert recorder.ends() == ["fem_error"]


def test_write_that_fails(mesh, tmp_path):
    closing(mesh, fem.FemError, stage="write", outputs=[tmp_path / "out.nonsense"])
    closing(mesh, OSError, stage="write", outputs=[tmp_path / "no" / "folder" / "out.h5"])


def test_cancelled_before(mesh):
    token = fem.CancelToken()
    token.cancel()
    recorder = closing(mesh, fem.Cancelled, stage="load_mesh", cancel=token)
    assert recorder.names() == ["fem_error"]


@pytest.mark.parametrize(
    ("hook", "stage"),
    [
        ("fem_mesh_loaded", "compute_sparsity"),
        ("fem_solve_progress", "solve_system"),
        ("fem_derived_progress", "compute_derived"),
    ],
)
def test_cancelled_by_an_observer(mesh, hook, stage):
    """At the next step of the stage, or before the next stage."""
    token = fem.CancelToken()

    def cancel(self):
        token.cancel()

    watch = type("Watch", (), {hook: fem.plugins.hookimpl(cancel)})()
    options = {"cancel": token, "observers": [watch], "monitor": 3}
    if stage == "compute_derived":  # it was the last step: the run is complete
        closing(mesh, None, **options)
    else:
        recorder = closing(mesh, fem.Cancelled, stage=stage, **options)
        if stage == "solve_system":
            assert recorder.names().count("fem_solve_progress") == 1


def test_cancelled_in_cg_between_monitors(mesh):
    token = fem.CancelToken()
    held = fem.apply_bc(fem.assemble_system(mesh), mesh)
    problem, options = fem.Problem.potential_flow(mesh), fem.plugins.SolverOptions(monitor=10**6)
    with fem.open_backend("numpy") as session:
        run = Run(session.chain, cancel=token)
        token.cancel()
        with pytest.raises(fem.Cancelled):
            run.perform(SOLVE_SYSTEM, mesh, problem=problem, system=held, options=options)


def test_cancelled_from_another_thread(mesh):
    token, reached = fem.CancelToken(), threading.Event()

    def cancel():
        reached.wait(10)
        token.cancel()

    def script(progress):
        reached.set()
        while True:
            progress.check()
            threading.Event().wait(0.001)

    thread = threading.Thread(target=cancel)
    thread.start()
    closing(mesh, fem.Cancelled, stage="assemble_system", script=script, cancel=token)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("method", "arguments"), [("check", ()), ("assembly", (1, 2)), ("solve", (1, 0.5, None)), ("derived", (2, 2))]
)
def test_progress_carries_the_cancellation(method, arguments):
    heard, token = [], fem.CancelToken()
    progress = fem.plugins.Progress(lambda hook, final, **payload: heard.append(hook), token)
    getattr(progress, method)(*arguments)
    assert len(heard) == (method != "check")
    token.cancel()
    with pytest.raises(fem.Cancelled):
        getattr(progress, method)(*arguments)
    assert len(heard) == (method != "check")


def test_a_run_after_each(mesh):
    with fem.open_backend("numpy") as session:
        token = fem.CancelToken()
        token.cancel()
        with pytest.raises(fem.Cancelled):
            session.solve(mesh, cancel=token, solver="cg")
        assert session.solve(mesh, solver="cg").report.converged


# throttling


def progress_heard(mesh, script, watch):
    run(mesh, script, observers=[watch])
    return [e["current"] for name, e in watch.heard if name == "fem_assembly_progress"]


def test_progress_is_throttled(mesh, clock):
    def script(progress):
        for current in range(1000):
            progress.assembly(current, 1000)
            clock.now += 0.001  # a second in all
        progress.assembly(1000, 1000)

    heard = progress_heard(mesh, script, fakes.Recorder())
    assert heard[0] == 0
    assert heard[-1] == 1000
    assert 15 <= len(heard) <= 22  # every 0.05 s


def test_the_last_one_is_always_delivered(mesh, clock):
    def script(progress):
        for current in (1, 2, 3):
            progress.assembly(current, 3)

    assert progress_heard(mesh, script, fakes.Recorder()) == [1, 3]


def test_a_slow_observer_hears_less(mesh, clock):
    """It takes a tenth of the run at most, and the quick one beside it hears no less for it."""

    class Slow(fakes.Recorder):
        @fem.plugins.hookimpl
        def fem_assembly_progress(self, current, total):
            super().fem_assembly_progress(current, total)
            clock.now += 0.5

    quick = fakes.Recorder()
    slow = Slow()

    def script(progress):
        for current in range(2000):
            progress.assembly(current, 10**6)
            clock.now += 0.01  # 20 s of work

    run(mesh, script, observers=[slow, quick])
    number = {w: w.names().count("fem_assembly_progress") for w in (slow, quick)}
    assert 3 <= number[slow] <= 5
    assert number[quick] > 300


def test_other_events_are_never_throttled(mesh, clock):
    class Slow(fakes.Recorder):
        @fem.plugins.hookimpl
        def fem_stage_start(self, stage, provider):
            super().fem_stage_start(stage, provider)
            clock.now += 100

    slow = Slow()
    fem.solve(mesh, backend="numpy", observers=[slow], solver="cg")
    assert slow.names().count("fem_stage_start") == slow.names().count("fem_stage_complete") == len(ORDER)


def test_each_kind_of_progress_by_itself(mesh, clock):
    recorder = fakes.Recorder()
    fem.solve(mesh, backend="numpy", solver="cg", monitor=5, observers=[recorder])
    assert {"fem_assembly_progress", "fem_solve_progress", "fem_derived_progress"} <= set(recorder.names())


# failing observers


EVENTS = [name for name in vars(fakes.Recorder) if name.startswith("fem_") and name != "fem_error"]


@pytest.mark.parametrize("hook", EVENTS)
def test_a_failing_observer_is_switched_off(mesh, hook, caplog):
    """With one warning; the others hear every event, before and after it in the list."""
    calls = []

    class Bad(fakes.Recorder):
        pass

    def fail(self):
        calls.append(1)
        raise ValueError("no space left")

    setattr(Bad, hook, fem.plugins.hookimpl(fail))
    first, bad, last = fakes.Recorder(), Bad(), fakes.Recorder()
    solution = fem.solve(mesh, backend="numpy", solver="cg", monitor=3, observers=[first, bad, last])
    assert first.names() == last.names()
    assert first.names()[-1] == "fem_solve_complete"
    assert len(calls) == 1
    assert len(bad.heard) < len(first.heard)
    about = [warning for warning in solution.report.warnings if "switched off" in warning]
    wanted = f"observer 2 (Bad) failed in {hook} and was switched off: ValueError: no space left"
    assert about == ([wanted] if hook != "fem_solve_complete" else [])  # too late for the report, but logged:
    assert caplog.text.count("failed in") == 1


def test_failing_in_error_hides_no_error(mesh, caplog):
    class Bad:
        @fem.plugins.hookimpl
        def fem_error(self):
            raise ValueError("oh")

    recorder = fakes.Recorder()
    with pytest.raises(fem.MeshError):
        fem.solve("no-such-file.h5", observers=[Bad(), recorder])
    assert recorder.ends() == ["fem_error"]


def test_all_failing(mesh):
    def fail(event):
        raise RuntimeError

    report = fem.solve(
        mesh, on_event=fail, observers=[type("A", (), {"fem_mesh_loaded": fem.plugins.hookimpl(_raise)})()]
    ).report
    assert report.converged
    assert sum("switched off" in warning for warning in report.warnings) == 2


def _raise(self):
    raise RuntimeError


def test_switched_off_for_one_run_only(mesh):
    class Once(fakes.Recorder):
        failed = False

        @fem.plugins.hookimpl
        def fem_mesh_loaded(self, mesh):
            if not self.failed:
                self.failed = True
                raise OSError

    once = Once()
    with fem.open_backend("numpy") as session:
        assert any("switched off" in w for w in session.solve(mesh, observers=[once]).report.warnings)
        assert not any("switched off" in w for w in session.solve(mesh, observers=[once]).report.warnings)
    assert once.ends() == ["fem_solve_complete"]


# plain callables


def test_on_event(mesh):
    heard = []
    solution = fem.solve(mesh, backend="numpy", solver="cg", monitor=5, on_event=heard.append)
    assert all(type(event) is fem.Event for event in heard)
    plain = [json.loads(json.dumps({"event": event.name, "data": event.data})) for event in heard]
    by_name = {event["event"]: event["data"] for event in plain}
    assert set(by_name) == {
        "fem:stageStart", "fem:stageComplete", "fem:meshLoaded", "fem:assemblyProgress", "fem:solveProgress",
        "fem:derivedProgress", "fem:solveComplete",
    }  # fmt: skip
    assert by_name["fem:stageStart"] == {"stage": "compute_derived"}
    assert set(by_name["fem:stageComplete"]) == {"stage", "duration"}
    assert by_name["fem:meshLoaded"] == {"nodes": mesh.n_nodes, "elements": 32}
    assert by_name["fem:assemblyProgress"] == {"current": 32, "total": 32}
    assert set(by_name["fem:solveProgress"]) == {"iteration", "residual", "etr"}
    done = by_name["fem:solveComplete"]
    assert done == {
        "converged": True, "iterations": solution.report.iterations, "timing": dict(solution.report.seconds),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "text"), [(ValueError("bad batch"), "bad batch"), (KeyboardInterrupt(), "KeyboardI")]
)
def test_on_event_of_an_error(mesh, error, text):
    heard = []
    with pytest.raises((fem.FemError, KeyboardInterrupt)):
        run(mesh, _fail(error), on_event=heard.append)
    assert heard[-1].name == "fem:error"
    assert heard[-1].data["stage"] == "assemble_system"
    assert text in heard[-1].data["error"]


def test_json_lines(mesh, tmp_path):
    path = tmp_path / "events.jsonl"
    with path.open("w") as stream:
        fem.solve(mesh, on_event=events.json_lines(stream))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"event": "fem:stageStart", "data": {"stage": "load_mesh"}}
    assert lines[-1]["event"] == "fem:solveComplete"


def test_payload_of_not_converged_is_json(mesh):
    """NaN and infinity aren't."""
    heard = []
    fem.solve(mesh, on_event=heard.append, maxiter=0, solver="cg")
    json.dumps([event.data for event in heard], allow_nan=False)


@pytest.mark.skipif(loopback.active, reason="numpy is the loopback")
def test_providers_are_named(mesh):
    recorder = fakes.Recorder()
    fem.solve(mesh, backend="numpy", observers=[recorder], solver="cg")
    provided = {e["stage"]: e["provider"] for name, e in recorder.heard if name == "fem_stage_start"}
    assert provided == dict.fromkeys(ORDER, "core") | {"assemble_system": "numpy", "compute_derived": "numpy"}
