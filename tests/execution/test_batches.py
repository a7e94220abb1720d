"""Cutting into batches and tasks, restricting inputs, and what can reach a worker process."""

import doctest
import functools
import subprocess
import sys

import numpy as np
import pytest
from fem_core import BackendError, OptionError, open_backend
from fem_core.assembly import kernels
from fem_core.backends import worker_options
from fem_core.execution import GRAIN, Batching, available_cores, batches, int_or_auto, require_importable, restrict
from fem_core.generate import duct
from fem_core.support import importable
from hypothesis import given
from hypothesis import strategies as st
from meshes import distorted, renumbered


def test_the_documented_examples():
    for module in (batches, importable):
        assert doctest.testmod(module).failed == 0


@given(
    st.integers(0, 5000),
    st.integers(1, 9),
    st.one_of(st.just("auto"), st.integers(1, 3000)),
    st.integers(1, 5),
    st.integers(0, 3000),
)
def test_every_item_is_in_one_task(n, workers, size, per_task, least):
    plan = Batching(workers, size, per_task, least).plan(n)
    items = [item for task in plan.tasks for start, stop in task for item in range(start, stop)]
    assert items == list(range(n))
    assert all(start % GRAIN == 0 for task in plan.tasks for start, _ in task)
    assert all(1 <= len(task) <= per_task for task in plan.tasks)
    assert 1 <= plan.workers <= max(1, min(workers, len(plan.tasks)))


def test_workers_are_the_cores_by_default_and_never_more_than_tasks():
    assert Batching(batch_size=100).plan(100_000).workers == available_cores()
    assert Batching(workers=8, batch_size=1000).plan(2000).workers == 2


def test_auto_makes_four_tasks_per_worker_of_at_most_a_third_of_a_second():
    # Quick items: as many tasks as balance needs. Slow items: as many as keep each short.
    assert len(Batching(workers=2).plan(100_000).tasks) in (8, 9)
    tasks = Batching(workers=2).plan(100_000, seconds_per_item=1e-4).tasks
    assert max(stop - start for task in tasks for start, stop in task) * 1e-4 <= 0.3 + GRAIN * 1e-4


def test_few_items_stay_in_the_calling_process_and_the_plan_says_so():
    plan = Batching(workers=4, min_size=1000).plan(999)
    assert plan.workers == 1
    assert "999 items stay in the calling process" in plan.remark
    assert Batching(workers=4, batch_size=100, min_size=1000).plan(1000).workers == 4


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"batch_size": 0}, {"batches_per_task": 0}, {"min_size": -1}], ids=lambda w: next(iter(w))
)
def test_impossible_options_are_refused(wrong):
    options = {option.name: option for option in worker_options("worker", "workers")}
    for name, value in wrong.items():
        for given_value in (value, str(value)):  # from Python, and from the command line
            with pytest.raises(OptionError, match=f"option {name} must be at least"):
                options[name].parse(given_value)
    assert options["batch_size"].parse("auto") == "auto"


def test_batch_sizes_come_as_text():
    assert (int_or_auto("auto"), int_or_auto("64"), int_or_auto(64)) == ("auto", 64, 64)
    with pytest.raises(ValueError, match="many"):
        int_or_auto("many")


@pytest.mark.parametrize("name", ["stiffness", "load", "derived", "stiffness_loop", "load_loop", "derived_loop"])
def test_a_batch_of_restricted_inputs_gives_the_same_bits(name):
    # Elements keep their places in slabs, so the restricted inputs give what the whole mesh gives.
    mesh, _, _ = renumbered(distorted(12, 11, seed=4), orphans=5)
    n = mesh.n_elements
    inputs = {"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8, "k": np.linspace(1, 2, n), "u": mesh.x * mesh.y}
    inputs["s"] = mesh.x[mesh.quad8]
    shapes = {"stiffness": {"Ke": (8, 8)}, "load": {"fe": (8,)}, "derived": {"velocity": (2,), "speed": ()}}
    kernel = getattr(kernels, name)
    for start, stop in ((0, 32), (32, 96), (96, n)):
        found = []
        for a, b, given_inputs in ((start, stop, inputs), restrict(start, stop, inputs)):
            outputs = {key: np.empty((stop - start, *shape)) for key, shape in shapes[name.split("_")[0]].items()}
            kernel(a, b, given_inputs, outputs)
            found.append(outputs)
        assert all(np.array_equal(found[0][key], found[1][key]) for key in found[0])


def test_restricted_inputs_hold_no_more_than_the_batch_needs():
    mesh = duct(nx=40, ny=40)
    _, _, part = restrict(64, 96, {"x": mesh.x, "quad8": mesh.quad8, "k": np.ones(1600)})
    assert len(part["k"]) == 32
    assert len(part["x"]) == len(np.unique(mesh.quad8[64:96]))
    assert part["quad8"].dtype == np.int32


class Holder:
    def method(self):
        pass

    @staticmethod
    def function():
        pass


@pytest.mark.parametrize(
    "function", [kernels.stiffness, Holder.function, Holder().method, functools.partial(int, 3), str]
)
def test_what_can_be_imported_may_reach_a_worker(function):
    require_importable(function)


def test_what_cannot_be_imported_is_refused_with_the_remedy():
    def nested():
        pass

    for function, said in (
        (lambda: None, "a lambda"),
        (nested, "inside a function"),
        (functools.partial(nested), "inside a function"),
    ):
        with pytest.raises(BackendError, match=f"{said}.*define it with `def` at the top level"):
            require_importable(function)
    hidden = Holder.function
    Holder.function, kept = staticmethod(lambda: None), hidden
    try:
        with pytest.raises(BackendError, match="can't be imported by this name"):
            require_importable(kept)
    finally:
        Holder.function = staticmethod(kept)


@pytest.mark.parametrize(
    ("script", "accepted"),
    [
        ("require()", False),
        ("def work():\n    require()\nwork()", False),
        ("if True:\n    require()", False),
        ("if __name__ == '__main__':\n    require()", True),
        ("import multiprocessing as mp\nif mp.parent_process() is None:\n    require()", True),
    ],
)
def test_a_script_without_a_guard_is_refused(tmp_path, script, accepted):
    path = tmp_path / "script.py"
    path.write_text(
        f"from fem_core.support.importable import require_guarded_main as require\n{script}\nprint('accepted')\n"
    )
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)
    assert ("accepted" in done.stdout) == accepted, done.stderr
    assert accepted or 'put the statements of the script under `if __name__ == "__main__":`' in done.stderr


def test_remarks_end_in_the_report():
    mesh = duct(nx=3, ny=2)
    with open_backend("numpy") as session:
        executor = session.backends[0][1].executor
        original = executor.map_ranges

        def remarking(*arguments):
            executor.remark("a note")
            executor.remark("a note")
            executor.remark("something odd", warning=True)
            return original(*arguments)

        executor.map_ranges = remarking
        report = session.solve(mesh, solver="cg").report
    assert report.notes == ("numpy: a note",)
    assert report.warnings == ("numpy: something odd",)
