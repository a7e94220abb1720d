"""fem-cuda's kernels and runtime in numba-cuda's simulator: NUMBA_ENABLE_CUDASIM=1 before Python starts."""

import importlib
import inspect
import os
import sys
import threading

import fem_core as fem
import numpy as np
import pytest
from fem_core.device import reference
from fem_core.testing import kernels
from fem_core.testing.strategies import large_case
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba_cuda", reason="numba-cuda isn't installed: fem-cuda's extra cuda13 has it")
if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    pytest.skip("the simulator is chosen by NUMBA_ENABLE_CUDASIM=1", allow_module_level=True)

import fem_cuda
from fem_cuda import program
from fem_cuda.jit import KERNELS
from fem_cuda.runtime import CUDARuntime
from numba.cuda.np import numpy_support
from numba.cuda.simulator.kernelapi import FakeCUDAShared

#: Kernels in which several threads take an item together.
SHARED = [*program.THREADS, "conjugate_gradients"]


@pytest.fixture
def runtime():
    runtime = CUDARuntime()
    runtime.open()
    runtime.compile()
    yield runtime
    runtime.close()


_lock = threading.Lock()


def _one_shared_array(self, shape, dtype):
    """The simulator's own looks for an array and makes it in two steps: two threads may get one each (seen here)."""
    caller = sys._getframe(1)
    with _lock:
        place = caller.f_code.co_filename, caller.f_lineno
        return self._allocations.setdefault(place, np.empty(shape, numpy_support.as_dtype(dtype)))


@pytest.fixture
def eight_threads(monkeypatch):
    """Blocks of eight threads, of which four take a row together."""
    monkeypatch.setattr(program.Simulated, "threads", 8)
    monkeypatch.setattr(FakeCUDAShared, "array", _one_shared_array)
    for stage in ("common", *program.STAGES):
        module = importlib.import_module(f"fem_cuda.kernels.{stage}")
        for name in ("LANES", "WARP"):
            monkeypatch.setattr(module, name, 4, raising=False)


@pytest.mark.parametrize("name", [name for name in kernels.KERNELS if name != "conjugate_gradients"])
def test_a_kernel_does_what_the_reference_states(runtime, name):
    @settings(max_examples=10, database=None)
    @given(st.integers(0, 10_000))
    def holds(seed):
        kernels.compare(runtime, name, seed, side=3)

    holds()


@pytest.mark.parametrize("seed", [0, 1])
def test_conjugate_gradients_do_what_the_reference_states(runtime, seed):
    kernels.compare(runtime, "conjugate_gradients", seed, side=3)


@pytest.mark.parametrize("name", SHARED)
def test_threads_that_take_a_row_together_get_the_same(runtime, eight_threads, name):
    kernels.compare(runtime, name, seed=3, side=1 if name == "conjugate_gradients" else 2)


@pytest.mark.parametrize("name", ["count_places", "list_places", "inverse_root_diagonal", "element_stiffness"])
def test_several_threads_share_the_items(runtime, eight_threads, name):
    kernels.compare(runtime, name, seed=4, side=2)


def test_kernels_have_the_names_and_arguments_that_the_reference_states():
    arguments = {name: list(inspect.signature(function).parameters) for name, function in KERNELS.items()}
    for name, function in reference.KERNELS.items():
        assert arguments[name] == list(inspect.signature(function).parameters)
    assert set(arguments) - set(reference.KERNELS) == {"conjugate_gradients", "sort_entries", "merge_entries"}


def test_sorted_and_gathered_matrices_have_the_same_bits():
    case = large_case(elements=60)

    def assembled(assembly):
        with fem.open_backend("cuda", assembly=assembly) as session:
            return fem.assemble_system(case.mesh, case.problem, backend=session).to_host()

    gathered, published = assembled("gather"), assembled("coo")
    for part in ("indptr", "indices", "data"):
        assert np.array_equal(getattr(gathered.matrix, part), getattr(published.matrix, part))


def test_the_simulator_is_never_called_a_gpu(runtime):
    described = runtime.describe()
    assert described["name"] == "simulator"
    assert described["simulated"]
    assert "compute_capability" not in described
    assert fem_cuda.INFO.device == "simulator"


def test_memory_is_accounted_for_and_given_back(runtime):
    free, total = runtime.free_memory()
    array = runtime.zeros(1000, np.float64)
    assert runtime.free_memory() == (free - 8000, total)
    del array
    assert runtime.free_memory() == (free, total)


def test_a_closed_device_says_so(runtime):
    runtime.close()
    runtime.close()
    with pytest.raises(fem.BackendError, match="open its backend again"):
        runtime.empty(1, np.float64)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(fem.BackendUnavailable, match="there is no GPU 3: this machine has 1, numbered from 0"):
        fem.open_backend("cuda", device=3)
