"""Sessions: opening and closing, what is kept between runs, threads, options, chains and `auto`."""

import logging
import threading
from dataclasses import dataclass

import fakes
import fem_core as fem
import numpy as np
import pytest
from fem_core.backends.default import DefaultBackend
from fem_core.io.files import reading
from fem_core.plugins.registry import REGISTRY, Listing, State
from fem_core.solvers import ConjugateGradients


@pytest.fixture
def mesh():
    return fakes.mesh(4, 2)


class Logged(fem.plugins.Backend):
    """Writes down what is done with it; fails where it is told to."""

    def __init__(self, log, name="one", fails=(), error=OSError):
        self.log, self.name, self.fails, self.error = log, name, fails, error

    def note(self, what):
        self.log.append(f"{what} {self.name}")
        if what in self.fails:
            raise self.error(f"{what} failed")

    def open(self):
        self.note("open")

    def compile(self):
        self.note("compile")

    def forget(self):
        self.note("forget")

    def close(self):
        self.note("close")


class Assembling(Logged):
    @fem.plugins.hookimpl
    def fem_assemble(self, mesh, problem, sparsity):
        self.note("assemble")
        return fem.assemble_system(mesh, problem, sparsity, backend="baseline")


def info(name, *stages, methods=(), **more):
    return fem.plugins.BackendInfo(name, "", "", stages=stages, solver_methods=methods, **more)


def pair(log, **fails):
    """Two backends, of which the second assembles."""
    first = info("one"), Logged(log, "one", fails.get("one", ()), fails.get("error", OSError))
    second = info("two", "assemble_system"), Assembling(log, "two", fails.get("two", ()), fails.get("error", OSError))
    return [first, second]


# opening and closing


def test_order(mesh):
    log = []
    with fem.Session(pair(log)) as session:
        report = session.solve(mesh).report
        session.solve(mesh)
    assert log == [
        "open one", "open two", "compile one", "compile two", "assemble two", "assemble two", "close two", "close one",
    ]  # fmt: skip
    assert list(report.seconds)[:2] == ["open_backend", "compile"]
    assert report.backend == "one,two"


def test_no_compile_stage_without_a_compiler(mesh):
    with fem.open_backend("baseline") as session:
        assert "compile" not in session.solve(mesh).report.seconds


def test_opened_once_closed_again_and_again():
    log = []
    session = fem.Session(pair(log)).open()
    with session.open():
        pass
    assert log.count("open one") == 1
    session.close()
    session.close()
    assert log.count("open one") == 1


@pytest.mark.parametrize("error", [OSError, RuntimeError, SystemExit, KeyboardInterrupt, fem.plugins.WorkerLost])
@pytest.mark.parametrize("where", ["open", "compile"])
@pytest.mark.parametrize("who", ["one", "two"])
def test_all_closed_after_a_failing_open(mesh, who, where, error):
    log = []
    session = fem.Session(pair(log, **{who: (where,)}, error=error))
    expected = error if error in (KeyboardInterrupt, fem.plugins.WorkerLost) else fem.BackendUnavailable
    recorder = fakes.Recorder()
    with pytest.raises(expected) as caught:
        session.solve(mesh, observers=[recorder])
    assert recorder.names() == ["fem_error"]
    assert recorder.heard[0][1]["stage"] == "open_backend"
    if expected is fem.BackendUnavailable:
        verb = "be opened" if where == "open" else "compile"
        assert f"backend '{who}' can't {verb}: {error.__name__}: {where} failed" in str(caught.value)
    assert log[-2:] == ["close two", "close one"]
    assert "assemble two" not in log
    for _, backend in session.backends:
        backend.fails = ()
    assert session.solve(mesh).report.converged  # what was missing has come back
    session.close()


def test_what_is_kept_is_forgotten_by_every_backend():
    log = []
    with fem.Session(pair(log)) as session:
        session.forget()
        assert log[-2:] == ["forget one", "forget two"]
        session.backends[1][1].fails = ("forget",)
        with pytest.raises(fem.BackendError, match="backend 'two' failed in forget: OSError: forget failed"):
            session.forget()


def test_a_failing_close_keeps_nobody_from_closing(mesh, caplog):
    log = []
    with caplog.at_level(logging.WARNING):
        with fem.Session(pair(log, two=("close",), error=SystemExit)) as session:
            solution = session.solve(mesh)
    assert log[-2:] == ["close two", "close one"]
    assert solution.report.converged
    assert "backend 'two' failed in close: SystemExit: close failed" in caplog.text


def test_ctrl_c_while_closing(mesh):
    log = []
    with pytest.raises(KeyboardInterrupt):
        with fem.Session(pair(log, two=("close",), error=KeyboardInterrupt)) as session:
            session.solve(mesh)
    assert log[-2:] == ["close two", "close one"]


def test_a_failing_close_hides_no_failing_open():
    with pytest.raises(fem.BackendUnavailable, match="'one' can't be opened: OSError: open failed"):
        fem.Session(pair([], one=("open", "close"))).open()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, fem.Cancelled])
def test_closed_after_an_exception(mesh, error):
    log = []
    with pytest.raises((fem.FemError, KeyboardInterrupt)):
        with fem.Session(pair(log, two=("assemble",), error=error)) as session:
            session.solve(mesh)
    assert log[-2:] == ["close two", "close one"]


def test_usable_after_an_exception(mesh):
    with fem.Session(pair([], two=("assemble",))) as session:
        with pytest.raises(fem.BackendError):
            session.solve(mesh)
        session.backends[1][1].fails = ()
        assert session.solve(mesh).report.converged


def test_twice_the_same():
    with pytest.raises(fem.BackendError, match="'numpy' is named twice in one chain"):
        fem.open_backend("numpy,baseline,numpy")


def test_nothing_is_opened_if_one_is_refused(monkeypatch):
    log = []
    monkeypatch.setattr(REGISTRY, "_registered", {"one": info("one")})
    monkeypatch.setattr(REGISTRY, "create", lambda listing, options: (listing.info, Logged(log)))
    with pytest.raises(fem.BackendUnavailable, match="no backend 'two'"):
        fem.open_backend("one,two")
    assert log == []


# what is kept


class Counting(fem.plugins.Backend):
    def __init__(self):
        self.meshes = []

    @fem.plugins.hookimpl
    def fem_sparsity(self, mesh):
        self.meshes.append(mesh.n_elements)
        return fem.compute_sparsity(mesh)


def test_pattern_kept_by_topology(mesh):
    backend = Counting()
    stretched = fem.Mesh(2 * mesh.x, mesh.y, mesh.quad8, mesh.boundaries)
    with fem.Session([(info("counting", "compute_sparsity"), backend)]) as session:
        for one in (mesh, mesh, stretched, fakes.mesh(4, 2)):
            session.solve(one)
        fem.assemble_system(mesh, backend=session)
        assert len(backend.meshes) == 1
        session.solve(fakes.mesh(5, 2))
        assert len(backend.meshes) == 2
    with session:
        session.solve(mesh)  # closing let go of it
    assert len(backend.meshes) == 3


def test_the_pattern_not_used_for_longest_goes():
    backend = Counting()
    meshes = {n: fakes.mesh(n, 1) for n in range(2, 8)}
    with fem.Session([(info("counting", "compute_sparsity"), backend)]) as session:
        for n in (2, 3, 4, 5, 2, 6, 2, 3):  # 6 takes the place of 3, for 2 was in use again
            session.solve(meshes[n])
    assert backend.meshes == [2, 3, 4, 5, 6, 3]


def test_a_backend_may_keep_the_system_that_it_gives(mesh):
    # Only what it says to be disposable is overwritten; with another load the matrix may well be the same object.
    class Keeping(Counting):
        kept = None

        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity, progress):
            self.kept = self.kept or fem.assemble_system(mesh, problem, sparsity, backend="numpy")
            return self.kept

    problems = [fem.Problem((fem.Robin("inlet", g, 3.0), fem.Dirichlet("outlet", 1.0))) for g in (1.0, 2.5)]
    expected = [fem.solve(mesh, problem, solver="cg").u for problem in problems]
    with fem.Session([(info("keeping", "compute_sparsity", "assemble_system"), Keeping())]) as session:
        for problem, u in zip(problems, expected, strict=True):
            np.testing.assert_allclose(session.solve(mesh, problem, solver="cg").u, u, rtol=1e-9)


def test_prepared_solver_kept(mesh, monkeypatch):
    calls = []
    prepare = ConjugateGradients.prepare
    monkeypatch.setattr(
        ConjugateGradients, "prepare", lambda self, *arguments: calls.append(1) or prepare(self, *arguments)
    )
    with fem.open_backend("numpy") as session:
        for gamma in (1.0, 2.5, 3.0):  # another right-hand side only
            session.solve(mesh, fem.Problem.potential_flow(mesh, gamma=gamma), solver="cg")
        assert len(calls) == 1
        session.solve(mesh, rtol=1e-4, solver="cg")
        assert len(calls) == 1
        session.solve(mesh, fem.Problem.potential_flow(mesh, conductivity=2.0), solver="cg")
        assert len(calls) == 2
        session.solve(mesh, solver="direct")
        session.solve(mesh, solver="cg")
        assert len(calls) == 3


def test_prepared_solver_is_for_its_own_matrix(mesh):
    """The same values on another pattern, and the same pattern with other values, are other matrices."""
    flow = fem.Problem.potential_flow(mesh)
    with fem.open_backend("numpy") as session:
        first = session.solve(mesh, flow, solver="cg").u
        other = session.solve(mesh, fem.Problem.potential_flow(mesh, p=1.0), solver="cg").u
        assert np.abs(first - other).max() > 0.1
        np.testing.assert_array_equal(first, session.solve(mesh, flow, solver="cg").u)


# threads


@pytest.mark.parametrize("name", ["numpy", "baseline"])
def test_two_threads_on_one_session(name):
    meshes = [fakes.mesh(6, 3), fakes.mesh(9, 2)]
    expected = [fem.solve(one, backend="baseline").u for one in meshes]
    found, failed = [[], []], []
    barrier = threading.Barrier(2)

    def work(number):
        try:
            barrier.wait(10)
            for _ in range(5):
                found[number].append(session.solve(meshes[number]).u)
        except BaseException as error:
            failed.append(error)

    with fem.open_backend(name) as session:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert not failed
    for number in range(2):
        assert len(found[number]) == 5
        for u in found[number]:
            np.testing.assert_allclose(u, expected[number], rtol=0, atol=1e-9)


@pytest.mark.parametrize("how", ["solve", "stage"])
def test_one_run_at_a_time(mesh, how):
    """Whole runs and single stages alike: a backend needn't be safe to be called from two threads."""
    inside, most = [], []

    class Alone(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()
            return fem.assemble_system(mesh, problem, sparsity, backend="baseline")

    log = []
    opener = info("opener"), Logged(log, "opener")
    session = fem.Session([(info("alone", "assemble_system"), Alone()), opener])

    def work():
        session.solve(mesh) if how == "solve" else fem.assemble_system(mesh, backend=session)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    session.close()
    assert most == [1] * 4
    assert log == ["open opener", "compile opener", "close opener"]


# who does what


class Declining(fem.plugins.Backend):
    def __init__(self, reason, stages=("assemble_system",)):
        self.reason, self.stages, self.asked = reason, stages, []

    def declines(self, stage, problem, options):
        self.asked.append((stage, problem.dirichlet, options.method))
        if callable(self.reason):
            return self.reason()
        return self.reason if stage in self.stages else None

    @fem.plugins.hookimpl
    def fem_sparsity(self, mesh):
        return fem.compute_sparsity(mesh)

    @fem.plugins.hookimpl
    def fem_assemble(self, mesh, problem, sparsity):
        return fem.assemble_system(mesh, problem, sparsity)


DECLINING = info("shy", "compute_sparsity", "assemble_system")


def test_declining_is_an_error(mesh):
    recorder = fakes.Recorder()
    with fem.Session([(DECLINING, Declining("k must be 1"))]) as session:
        with pytest.raises(fem.BackendError, match="'shy' declines assemble_system: k must be 1; pass fallback=True"):
            session.solve(mesh, observers=[recorder])
    assert recorder.heard[-1][1]["stage"] == "assemble_system"


def test_declining_with_a_fallback(mesh):
    log = []
    chain = [(DECLINING, Declining("k must be 1")), (info("two", "assemble_system"), Assembling(log, "two"))]
    with fem.Session(chain, fallback=True) as session:
        report = session.solve(mesh).report
        again = session.solve(mesh).report
    assert report.providers["compute_sparsity"] == "shy"
    assert report.providers["assemble_system"] == "two"
    wanted = "backend 'shy' declined assemble_system: k must be 1"
    assert [w for w in report.warnings if "shy" in w] == [w for w in again.warnings if "shy" in w] == [wanted]


def test_declining_is_asked_about_the_run_itself(mesh):
    backend = Declining(None)
    with fem.Session([(DECLINING, backend)]) as session:
        session.solve(mesh, fem.Problem.potential_flow(mesh, dirichlet="eliminate"), solver="direct")
    assert backend.asked == [(stage, "eliminate", "direct") for stage in ("compute_sparsity", "assemble_system")]


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_declines_that_fails(mesh, error, fallback):
    def fail():
        raise error("oh")

    recorder = fakes.Recorder()
    with fem.Session([(DECLINING, Declining(fail))], fallback=fallback) as session:
        with pytest.raises(fem.BackendError, match=r"'shy' failed in declines\('compute_sparsity'\): .*oh"):
            session.solve(mesh, observers=[recorder])
    assert recorder.ends() == ["fem_error"]


def test_chain_is_asked_in_its_order(mesh):
    with fem.open_backend("baseline,numpy") as one, fem.open_backend("numpy, baseline") as other:
        first, second = one.solve(mesh).report, other.solve(mesh).report
    assert (first.backend, second.backend) == ("baseline,numpy", "numpy,baseline")
    assert first.providers["assemble_system"] == first.providers["compute_derived"] == "baseline"
    assert second.providers["assemble_system"] == second.providers["compute_derived"] == "numpy"


def test_solver_methods_decide(mesh):
    class Mine(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_solve(self, system, mesh, problem, options, progress):
            return DefaultBackend().fem_solve(system, mesh, problem, fem.plugins.SolverOptions("direct"), progress)

    chain = [(info("mine", "solve_system", methods=("mine",)), Mine())]
    with fem.Session(chain) as session:
        assert session.solve(mesh, solver="mine").report.providers["solve_system"] == "mine"
        assert session.solve(mesh, solver="cg").report.providers["solve_system"] == "core"
        with pytest.raises(fem.OptionError, match=r"no solver 'bicg'; solvers: cg, direct, mg, .*; mine adds mine"):
            session.solve(mesh, solver="bicg")


# options of a run


def test_unknown_solver_and_options(mesh):
    recorder = fakes.Recorder()
    with pytest.raises(fem.OptionError, match="no solver 'gc'; solvers: cg, direct"):
        fem.solve(mesh, backend="baseline", solver="gc", observers=[recorder])
    assert recorder.names() == ["fem_error"]  # before any work
    with pytest.raises(fem.OptionError, match=r"no option 'rtoll'; options: solver, rtol, .* on_event"):
        fem.solve(mesh, rtoll=1e-3)
    with pytest.raises(fem.OptionError, match="no option 'workers'"):
        fem.solve(mesh, backend="numpy", workers=2)
    with pytest.raises(fem.OptionError, match="rtol and atol must be >= 0"):
        fem.solve(mesh, rtol=-1)
    with pytest.raises(fem.OptionError, match="maxiter must be >= 0"):
        fem.solve(mesh, maxiter=-1)
    held = fem.apply_bc(fem.assemble_system(mesh), mesh)
    assert fem.solve_system(held, mesh, rtol=1e-4, solver="cg").converged
    with pytest.raises(fem.OptionError, match=r"no option 'outputs'; options: solver, rtol, .*"):
        fem.solve_system(held, mesh, outputs=["u.h5"])


def test_session_takes_no_backend_options(mesh):
    with fem.open_backend("numpy") as session:
        for given in ({"fallback": True}, {"backend_options": {"kernel": "loop"}}):
            with pytest.raises(fem.OptionError, match="can't be given with an open session"):
                fem.solve(mesh, backend=session, **given)


# auto


@pytest.fixture
def ranked(monkeypatch):
    """Three backends that rank above all installed ones: unavailable, can't be opened, sound."""
    log = []
    wings = (fem.plugins.Option("wings", int),)
    backends = {
        "gone": (info("gone", rank=9003, available=lambda: "no driver"), Logged(log, "gone")),
        "cold": (info("cold", rank=9002), Logged(log, "cold", ("open",))),
        "good": (info("good", "assemble_system", rank=9001), Assembling(log, "good")),
        "winged": (info("winged", rank=-1, options=wings), Logged(log, "winged")),
    }
    create = REGISTRY.create

    def fake(listing, options):
        if listing.state is State.READY and listing.name in backends:
            return backends[listing.name]
        return create(listing, options)

    known = {name: one for name, (one, _) in backends.items()}
    monkeypatch.setattr(REGISTRY, "_registered", REGISTRY._registered | known)
    monkeypatch.setattr(REGISTRY, "create", fake)
    return log


def test_auto(mesh, ranked):
    report = fem.solve(mesh, solver="cg").report
    assert report.backend == "good"
    assert ranked == ["open cold", "close cold", "open good", "compile good", "assemble good", "close good"]
    chose, absent = report.notes
    assert chose.startswith("auto chose good, the highest-ranked of ")
    assert absent.startswith("auto skipped gone")
    assert report.warnings[0] == "auto skipped cold: backend 'cold' can't be opened: OSError: open failed"


def test_a_device_that_is_missing_is_a_note_and_no_warning(mesh, ranked, monkeypatch):
    # The libraries of a GPU may be installed where there is none: nothing is wrong then.
    _, cold = REGISTRY.create(REGISTRY.find("cold"), {})
    monkeypatch.setattr(cold, "error", lambda text: fem.plugins.DeviceMissing("there is no GPU; use a CPU backend"))
    with pytest.raises(fem.BackendUnavailable, match=r"^there is no GPU; use a CPU backend$"):
        fem.open_backend("cold")
    report = fem.solve(mesh, solver="cg").report
    assert report.notes[1] == "auto skipped cold: there is no GPU; `fem doctor` gives details"
    assert not any("auto" in text for text in report.warnings)


def test_auto_counts_those_that_are_left(mesh, ranked, monkeypatch):
    listings = [one for one in REGISTRY.listings() if one.name in ("gone", "cold", "good", "winged")]
    monkeypatch.setattr(REGISTRY, "listings", lambda: listings)
    assert fem.solve(mesh).report.notes[0] == "auto chose good, the highest-ranked of 2 ready backends"


@pytest.mark.parametrize(("pending", "chosen"), [(lambda: "compile", "numpy"), (lambda: 1 / 0, "slow")])
def test_auto_leaves_out_what_has_to_be_prepared(mesh, monkeypatch, pending, chosen):
    infos = [info("slow", rank=9000, pending=pending), info("numpy", rank=10)]
    ready = [Listing(one.name, State.READY, "", "", one) for one in infos]
    monkeypatch.setattr(REGISTRY, "listings", lambda: ready)
    monkeypatch.setattr(REGISTRY, "create", lambda listing, options: (listing.info, fem.plugins.Backend()))
    with fem.open_backend("auto") as session:
        assert session.name == chosen
        assert ("auto skipped slow: it has to compile; `fem doctor` does this" in session.notes) == (chosen == "numpy")


def test_auto_goes_where_the_options_are_known(ranked):
    with fem.open_backend("auto", wings=2) as session:
        assert session.name == "winged"
    with pytest.raises(fem.OptionError, match="no option 'sails'"):
        fem.open_backend("auto", sails=2)


def test_a_named_backend_is_never_replaced(mesh, ranked):
    for name, reason in (("cold", "open failed"), ("gone", "no driver")):
        for fallback in (False, True):
            with pytest.raises(fem.BackendUnavailable, match=reason):
                fem.solve(mesh, backend=name, fallback=fallback)


def test_auto_without_any(mesh, monkeypatch):
    monkeypatch.setattr(REGISTRY, "listings", list)
    with pytest.raises(fem.BackendUnavailable, match="no backend can be opened"):
        fem.solve(mesh)


def test_backends_may_be_dataclasses(mesh):
    """Equal to one another and unhashable, as `@dataclass` makes them."""

    @dataclass
    class Plain(fem.plugins.Backend):
        workers: int = 2

        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity):
            return fem.assemble_system(mesh, problem, sparsity)

    chain = [(info(name, "assemble_system"), Plain()) for name in ("one", "two")]
    with fem.Session(chain) as session:
        assert session.solve(mesh).report.providers["assemble_system"] == "one"


def test_opening_and_compiling_are_stages_where_there_is_something_to_do(mesh):
    # Told to the observers of the first run, and timed in the report of each.
    class Slow(fem.plugins.Backend):
        def compile(self):
            """Take no time at all."""

    heard = []
    info = fem.plugins.BackendInfo("slow", "", "", stages=())
    with fem.Session([(info, Slow())]) as session:
        for _ in range(2):
            report = session.solve(mesh, on_event=heard.append).report
            assert list(report.seconds)[:2] == ["compile", "load_mesh"]
    started = [event.data["stage"] for event in heard if event.name == "fem:stageStart"]
    assert started.count("compile") == 1
    assert started[0] == "compile"
    assert "open_backend" not in started


def test_a_mesh_that_is_still_being_read(tmp_path):
    path = fem.write_mesh(fem.generate.duct(nx=4, ny=2), tmp_path / "duct.h5")
    expected = fem.solve(path, backend="numpy", solver="direct")
    with fem.open_backend("numpy") as session:
        found = session.solve(reading(path, {}), solver="direct")
        assert np.array_equal(expected.u, found.u)
        heard = []
        with pytest.raises(fem.MeshError, match="this file doesn't exist"):
            session.solve(reading(tmp_path / "none.h5", {}), on_event=heard.append)
    assert heard[-1].name == "fem:error"
    assert heard[-1].data["stage"] == "load_mesh"
