"""The conformance kit: right backends pass it, and each planted fault is caught by the check it is named for."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import fem_core as fem
import numpy as np
import pytest
from fakes.planted import Whole, info
from fakes.planted_faults import FAULTS, STOP
from fem_core.testing import (
    CHECKS,
    CheckResult,
    Target,
    assert_light,
    formula,
    not_looked_at,
    parametrize_with_checks,
    tolerance,
    verify,
)
from fem_core.testing.compare import bare_system
from fem_core.testing.strategies import large_case


@parametrize_with_checks("numpy")
def test_numpy_conforms(check):
    check()


@parametrize_with_checks("baseline", examples=10)
def test_baseline_conforms(check):
    check()


@parametrize_with_checks(info(Whole), examples=10)
def test_a_backend_that_provides_every_stage_conforms(check):
    check()


class Opening(Whole):
    """A right backend whose opening and compiling are stages."""

    def open(self):
        """Acquire nothing."""

    def compile(self):
        """Compile nothing."""


@pytest.mark.parametrize("name", ["events", "cleanup", "providers"])
def test_opening_and_compiling_are_allowed(name):
    # Each check on a session of its own: the first run is the one that tells of opening.
    (result,) = verify(info(Opening), checks=[name])
    assert result.outcome == "passed", result.detail


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_planted_fault_is_caught_by_its_check(fault):
    STOP.clear()
    (result,) = verify(fault.info, checks=[fault.caught_by], shrink=False)
    STOP.set()
    assert result.outcome == "failed", f"{fault.caught_by} lets {fault.name} pass"
    assert result.detail


class LeftSegment(Whole):
    """Leaves a segment of shared memory behind."""

    def open(self):
        self.path = Path("/dev/shm", f"fem-test-{os.getpid()}-{time.monotonic_ns()}-left")
        self.path.write_bytes(b"left")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="looks into /dev/shm")
def test_a_segment_left_behind_is_the_backend_s_and_no_other_program_s():
    """Another program makes and drops segments of its own all the time."""
    name = f"fem-test-{os.getpid()}-busy"
    busy = f"""
from itertools import count
from multiprocessing.shared_memory import SharedMemory
for i in count():
    segment = SharedMemory({name!r} + str(i), create=True, size=9)
    sum(range(20000))
    segment.close()
    segment.unlink()
"""
    with subprocess.Popen([sys.executable, "-c", busy], stderr=subprocess.DEVNULL) as other:
        try:
            (right,) = verify(info(Whole), checks=["cleanup"])
            (wrong,) = verify(info(LeftSegment), checks=["cleanup"])
        finally:
            other.kill()
            other.wait()
            for path in Path("/dev/shm").glob(f"fem-test-{os.getpid()}-*"):
                path.unlink(missing_ok=True)
    assert right.outcome == "passed", right.detail
    assert wrong.outcome == "failed"
    assert "-left" in wrong.detail
    assert name not in wrong.detail


def test_every_check_that_compares_or_watches_has_caught_something():
    """A check that no planted fault trips is not known to check anything."""
    proven = {fault.caught_by for fault in FAULTS}
    assert set(CHECKS) - proven == {"light_import"}  # it needs files; see below


@pytest.mark.parametrize(
    ("init", "info_module", "caught"),
    [
        ("", "", None),
        ("import sqlite3, numpy.ma", "", None),
        ("import pytest", "", "pytest"),
        ("", "import heavy.backend", "implementation"),
    ],
)
def test_light_import_catches_what_comes_along(tmp_path, monkeypatch, init, info_module, caught):
    package = tmp_path / "heavy"
    package.mkdir()
    (package / "__init__.py").write_text(init)
    (package / "backend.py").write_text("")
    (package / "info.py").write_text(f"{info_module}\nINFO = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if caught is None:
        assert_light("heavy.info:INFO", "heavy.backend:Backend")
    else:
        with pytest.raises(AssertionError, match=caught):
            assert_light("heavy.info:INFO", "heavy.backend:Backend")


def test_expected_failures_are_reported_with_their_reason():
    unstable = next(fault for fault in FAULTS if fault.name == "UnstableSum").info
    (result,) = verify(unstable, checks=["determinism"], expected_failures={"determinism": "sums with atomics"})
    assert result.outcome == "expected failure"
    assert "sums with atomics" in result.detail


def test_an_expected_failure_that_passes_is_a_failure_where_the_check_is_deterministic():
    (result,) = verify("numpy", checks=["providers"], expected_failures={"providers": "once was wrong"})
    assert result.outcome == "failed"
    assert "take it off the list" in result.detail


def test_unknown_checks_are_answered_with_the_known_ones():
    with pytest.raises(fem.OptionError, match="matrix"):
        verify("numpy", checks=["matrices"])


def test_the_kit_runs_through_pytest_from_anywhere(tmp_path):
    command = [sys.executable, "-m", "pytest", "--pyargs", "fem_core.testing", "-q", "-p", "no:cacheprovider"]
    command += ["--fem-backend", "numpy", "--fem-option", "batch_size=100", "--fem-examples", "3", "-k", "matrix"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_formulas_of_the_kit_are_the_baseline_s():
    case = large_case(elements=200)
    mesh, problem, u = case.mesh, case.problem, np.random.default_rng(0).normal(size=case.mesh.n_nodes)
    theirs = fem.assemble_system(mesh, problem, backend="baseline")
    mine = bare_system(case, fem.compute_sparsity(mesh))
    allowed = tolerance.stiffness(mesh, problem, fem.compute_sparsity(mesh))
    assert (abs(mine.matrix.data - theirs.matrix.data) <= allowed).all()
    assert (abs(mine.rhs - theirs.rhs) <= tolerance.load(mesh, problem)).all()
    result = fem.SolveResult(u, "given", 0, fem.StopReason.CONVERGED, 0.0, 0.0)
    fields = fem.compute_derived(mesh, result, problem, backend="baseline")
    velocity, speed = formula.velocity_and_speed(mesh, u)
    assert (abs(velocity - fields.velocity) <= tolerance.derived(mesh, u)[:, None]).all()
    assert (abs(speed - fields.speed) <= tolerance.derived(mesh, u)).all()


def test_a_slow_backend_gets_smaller_meshes_and_the_kit_says_so():
    with Target("baseline") as target:
        assert target.most(39_000) == 2_100
        assert "2,100" in target.left_out[0]
    results = [CheckResult("sparsity", "skipped", "why", 0.0), CheckResult("reuse", "passed", "", 0.0, ("large ones",))]
    told = not_looked_at(results)
    assert "compute_sparsity" in told[0]
    assert told[1] == "large ones"


def test_a_pool_of_other_code_in_the_same_process_is_not_the_backend_s():
    stop = threading.Event()

    def grow():
        while not stop.wait(0.01):
            thread = threading.Thread(target=stop.wait, args=(5,), daemon=True)
            thread.start()

    other = threading.Thread(target=grow, daemon=True)
    other.start()
    try:
        results = verify(info(Whole), checks=["cleanup", "growth"])
    finally:
        stop.set()
        other.join()
    assert [result.outcome for result in results] == ["passed", "passed"], results


def test_the_large_case_has_what_batches_trip_over():
    mesh = large_case().mesh
    assert mesh.n_elements % fem.execution.GRAIN != 0
    assert len(mesh.orphan_nodes) == 40
