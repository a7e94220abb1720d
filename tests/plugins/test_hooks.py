"""Who may implement what, and that wrappers and observers can't harm the run they watch."""

import functools
import json
import os
from dataclasses import dataclass

import fakes
import fem_core as fem
import numpy as np
import pytest
from fakes import loopback
from fakes.distributions import python
from fem_core.plugins.validation import check_plugin, implementations
from places import ROOT, TESTS

STAGES = {
    "compute_sparsity": "fem_sparsity",
    "assemble_system": "fem_assemble",
    "apply_bc": "fem_apply_bc",
    "solve_system": "fem_solve",
    "compute_derived": "fem_compute_derived",
}


@pytest.fixture
def mesh():
    return fakes.mesh(4, 2)


def observer(source):
    """An object of the class whose body is `source`."""
    space = {"fem": fem}
    exec("class Watch:\n" + "\n".join("    " + line for line in source.splitlines()), space)
    return space["Watch"]()


@pytest.mark.parametrize("hook", STAGES.values())
def test_an_observer_provides_nothing(mesh, hook):
    """It would be called before the backend, which would then do nothing at all."""
    recorder = fakes.Recorder()
    with pytest.raises(fem.FemError, match=f"Watch: {hook} is provided by backends; an observer may only wrap it"):
        fem.solve(mesh, observers=[recorder, observer(f"@fem.plugins.hookimpl\ndef {hook}(self, mesh): return None")])
    assert recorder.heard == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def fem_stage_start(self, stage): pass", "fem_stage_start is not marked"),
        (
            "@fem.plugins.hookimpl\ndef fem_stage_begin(self, stage): pass",
            "fem_stage_begin is not a hook; did you mean fem_st",
        ),
        (
            "@fem.plugins.hookimpl\ndef on_start(self, stage): pass",
            "on_start is marked with @fem_core.plugins.hookimpl but has no",
        ),
        ("@fem.plugins.hookimpl(specname='fem_solve')\ndef mine(self, mesh): pass", "mine is marked"),
        ("@fem.plugins.hookimpl(specname='fem_solve')\ndef fem_error(self, mesh): pass", "with the name of its hook"),
        ("@fem.plugins.hookimpl\ndef fem_stage_start(self, stage='x'): pass", "parameter \"stage='x'\""),
        (
            "@fem.plugins.hookimpl\ndef fem_stage_start(self, step): pass",
            "parameter 'step'; accepted are stage, provider, with",
        ),
        ("@fem.plugins.hookimpl(wrapper=True)\ndef fem_error(self): yield", "fem_error can't be a wrapper here"),
        ("@fem.plugins.hookimpl(wrapper=True)\ndef fem_solve(self): return 1", "it must have a `yield`"),
        ("@fem.plugins.hookimpl(hookwrapper=True)\ndef fem_solve(self): yield", "an old-style wrapper"),
        ("@fem.plugins.hookimpl\ndef fem_mesh_readers(self): return []", "can't be implemented by an observer"),
        ("@fem.plugins.hookimpl\ndef fem_linear_solvers(self): return []", "can't be implemented by an observer"),
    ],
)
def test_unsound_observers(mesh, source, text):
    with pytest.raises(fem.FemError) as caught:
        fem.solve(mesh, observers=[observer(source)])
    assert text in str(caught.value)


def test_a_class_is_no_observer(mesh):
    with pytest.raises(fem.FemError, match="has the parameter 'self'"):
        fem.solve(mesh, observers=[fakes.Recorder])


def test_a_hook_must_be_a_function(mesh):
    """pluggy passes over anything else, however well it is marked and however callable."""

    def assemble(mesh, problem, sparsity):
        raise AssertionError

    class Partial(fem.plugins.Backend):
        def __init__(self):
            self.fem_assemble = fem.plugins.hookimpl(functools.partial(assemble))

    info = fem.plugins.BackendInfo("partial", "", "", stages=("assemble_system",))
    with pytest.raises(fem.BackendError, match="fem_assemble must be a function or method"):
        fem.Session([(info, Partial())])


def test_what_is_no_hook_is_left_alone():
    class Fine:
        fem_version = 3  # not callable
        other = print

        @property
        def pool(self):
            raise AssertionError("nobody asked")

        @fem.plugins.hookimpl
        def fem_error(self):
            pass

    assert list(implementations(Fine())) == ["fem_error"]
    check_plugin(Fine(), "observer")


def test_any_subset_of_the_arguments_in_any_order(mesh):
    heard = []

    class Watch:
        @fem.plugins.hookimpl
        def fem_stage_complete(self, duration, stage):
            heard.append((stage, duration))

        @staticmethod
        @fem.plugins.hookimpl
        def fem_solve_complete():
            heard.append("done")

    class Odd(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, sparsity, problem, mesh):
            return fem.assemble_system(mesh, problem, sparsity)

    with fem.Session([(fem.plugins.BackendInfo("odd", "", "", stages=("assemble_system",)), Odd())]) as session:
        session.solve(mesh, observers=[Watch()])
    assert [stage for stage, duration in heard[:-1] if duration >= 0] == ["load_mesh", *STAGES]
    assert heard[-1] == "done"


# wrappers


def test_timers_run_inside_and_nest(mesh):
    order = []

    def make(name):
        class Timer:
            @fem.plugins.hookimpl(wrapper=True)
            def fem_assemble(self, mesh, problem):
                order.append(f"{name} before")
                system = yield
                assert type(system) is fem.LinearSystem
                order.append(f"{name} after")
                return system

        return Timer()

    class Backend(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity):
            order.append("provider")
            return fem.assemble_system(mesh, problem, sparsity)

    with fem.Session([(fem.plugins.BackendInfo("x", "", "", stages=("assemble_system",)), Backend())]) as session:
        session.solve(mesh, observers=[make("a"), make("b")])
    assert order in (
        ["b before", "a before", "provider", "a after", "b after"],
        ["a before", "b before", "provider", "b after", "a after"],
    )


WRAPPERS = {
    "before": "raise OSError('full')\nyield",
    "after": "result = yield\nraise OSError('full')",
    "no yield": "if mesh is None: yield",
    "two": "yield\nyield",
    "exit": "yield\nassert False",
}


@pytest.mark.parametrize("hook", STAGES.values())
@pytest.mark.parametrize("body", WRAPPERS.values(), ids=list(WRAPPERS))
def test_a_failing_wrapper_is_switched_off(mesh, hook, body):
    """With one warning, whatever else it listens to; result and other observers are untouched."""
    source = f"heard = 0\n@fem.plugins.hookimpl(wrapper=True)\ndef {hook}(self, mesh):\n  " + body.replace("\n", "\n  ")
    source += "\n@fem.plugins.hookimpl\ndef fem_solve_complete(self): self.heard += 1"
    bad, recorder = observer(source), fakes.Recorder()
    plain = fem.solve(mesh, backend="numpy")
    solution = fem.solve(mesh, backend="numpy", observers=[recorder, bad])
    np.testing.assert_array_equal(solution.u, plain.u)
    np.testing.assert_array_equal(solution.pressure, plain.pressure)
    assert recorder.ends() == ["fem_solve_complete"]
    (warning,) = set(solution.report.warnings) - set(plain.report.warnings)
    assert warning.startswith(f"observer 2 (Watch) failed in {hook} and was switched off: ")
    assert bad.heard == 0


def test_switched_off_before_its_stage(mesh):
    source = "@fem.plugins.hookimpl\ndef fem_mesh_loaded(self): raise OSError"
    source += "\n@fem.plugins.hookimpl(wrapper=True)\ndef fem_solve(self):\n  self.called = True\n  return (yield)"
    watch = observer(source)
    assert fem.solve(mesh, observers=[watch]).report.converged
    assert not hasattr(watch, "called")


def test_failing_twice_is_warned_of_once(mesh):
    """In an event within the stage that it wraps, and then in the wrapper."""
    source = "@fem.plugins.hookimpl(wrapper=True)\ndef fem_assemble(self):\n  yield\n  raise OSError"
    source += "\n@fem.plugins.hookimpl\ndef fem_assembly_progress(self): raise ValueError"
    report = fem.solve(mesh, backend="numpy", observers=[observer(source)]).report
    (warning,) = (warning for warning in report.warnings if "switched off" in warning)
    assert "failed in fem_assembly_progress" in warning


@pytest.mark.parametrize("hook", STAGES.values())
@pytest.mark.parametrize("body", ["yield", "yield; return 'text'", "result = yield; return None"])
def test_a_wrapper_changes_no_result(mesh, hook, body):
    """Else the provider that the report names wouldn't be the one that made it."""
    watch = observer(f"@fem.plugins.hookimpl(wrapper=True)\ndef {hook}(self): {body}")
    solution = fem.solve(mesh, backend="numpy", observers=[watch])
    np.testing.assert_array_equal(solution.u, fem.solve(mesh, backend="numpy").u)
    assert not any("switched off" in warning for warning in solution.report.warnings)


BAD = fem.plugins.BackendInfo("bad", "", "", stages=("assemble_system",))


class Failing(fem.plugins.Backend):
    def __init__(self, error):
        self.error = error

    @fem.plugins.hookimpl
    def fem_assemble(self, mesh):
        raise self.error


@pytest.mark.parametrize("error", [ValueError("inside"), SystemExit("inside"), fem.MeshError("inside")])
@pytest.mark.parametrize(
    ("body", "warned"),
    [
        ("yield", False),
        ("try: yield\n  finally: pass", False),
        ("try: yield\n  except BaseException as e: seen.append(e)", False),
        ("try: yield\n  except BaseException: raise KeyError('other')", True),
    ],
)
def test_a_wrapper_around_a_failing_provider(mesh, error, body, warned, caplog):
    """It sees the error, but can't swallow or replace it."""
    watch = observer(f"@fem.plugins.hookimpl(wrapper=True)\ndef fem_assemble(self):\n  {body}")
    seen = type(watch).fem_assemble.__globals__["seen"] = []
    recorder = fakes.Recorder()
    with fem.Session([(BAD, Failing(error))]) as session:
        with pytest.raises(fem.FemError, match="inside") as caught:
            session.solve(mesh, observers=[recorder, watch])
    if not isinstance(error, fem.FemError):
        assert f"backend 'bad' failed in assemble_system: {type(error).__name__}: inside" in str(caught.value)
    assert recorder.ends() == ["fem_error"]
    assert seen == ([error] if "seen" in body else [])
    assert ("was switched off" in caplog.text) == warned


@pytest.mark.parametrize("body", ["raise KeyboardInterrupt\n  yield", "yield\n  raise KeyboardInterrupt"])
def test_ctrl_c_in_a_wrapper(mesh, body):
    recorder = fakes.Recorder()
    watch = observer(f"@fem.plugins.hookimpl(wrapper=True)\ndef fem_assemble(self):\n  {body}")
    with pytest.raises(KeyboardInterrupt):
        fem.solve(mesh, observers=[watch, recorder])
    assert recorder.ends() == ["fem_error"]


def test_observers_may_be_equal_or_the_same(mesh):
    """pluggy tells plugins apart by ==."""

    @dataclass
    class Count:
        number: int = 0

        @fem.plugins.hookimpl
        def fem_solve_complete(self):
            self.number += 1

    one, other = Count(), Count()
    fem.solve(mesh, observers=[one, other, other])
    assert (one.number, other.number) == (1, 2)


def test_a_run_within_a_run(mesh):
    """An observer may solve another problem, but on a session of its own: the run keeps its one busy."""
    inner = []

    class Watch:
        @fem.plugins.hookimpl
        def fem_stage_complete(self, stage):
            if stage == "assemble_system" and not inner:
                inner.append(None)
                with pytest.raises(fem.BackendError, match="an observer needs a session of its own"):
                    session.solve(fakes.mesh(5, 3))
                inner[0] = fem.solve(fakes.mesh(5, 3), backend="numpy")

    with fem.open_backend("numpy") as session:
        outer = session.solve(mesh, observers=[Watch()])
    np.testing.assert_array_equal(outer.u, fem.solve(mesh, backend="numpy").u)
    np.testing.assert_array_equal(inner[0].u, fem.solve(fakes.mesh(5, 3), backend="numpy").u)


def test_report_is_whole_and_plain(mesh):
    """Every warning once, in a report that JSON takes."""
    watch = observer("@fem.plugins.hookimpl\ndef fem_mesh_loaded(self): raise OSError('full')")
    report = fem.solve(mesh, solver="cg", maxiter=2, observers=[watch]).report
    text = json.dumps(report.to_dict())
    for part in ("did not converge", "belong to no element", "was switched off", "auto chose"):
        assert text.count(part) == 1, part


# the loopback backend: the core's numerics through the plugin path


def test_loopback_provides_everything(mesh):
    with fem.Session([(loopback.INFO, loopback.Loopback())]) as session:
        report = session.solve(mesh, fakes.problem(mesh), solver="direct").report
    assert {stage: report.providers[stage] for stage in STAGES} == dict.fromkeys(STAGES, "numpy")
    assert report.host_copies == 0


def test_loopback_is_the_core(mesh):
    problem = fakes.problem(mesh)
    with fem.Session([(loopback.INFO, loopback.Loopback(batch_size=16))]) as session:
        found = session.solve(mesh, problem)
    with fem.Session([]) as session:
        wanted = session.solve(mesh, problem)
    for name in ("u", "velocity", "speed", "pressure"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert found.report.solver == wanted.report.solver


@pytest.mark.skipif(loopback.active, reason="this is that run")
def test_suite_on_the_loopback():
    """A good part of the suite, with `numpy` the loopback; `-p fakes.plugin --loopback` does it for all of it."""
    chosen = [str(TESTS / name) for name in ("plugins/test_hooks.py", "plugins/test_events.py", "run/test_session.py")]
    options = ["-q", "-p", "fakes.plugin", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    done = python("-m", "pytest", *options, *chosen, FEM_LOOPBACK="1", PYTHONPATH=os.fspath(TESTS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_loopback" not in done.stdout
    assert " passed" in done.stdout
