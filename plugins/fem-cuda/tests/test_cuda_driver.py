"""fem-cuda's runtime on a make-believe driver: everything on the way to a GPU but the GPU's own work."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fem_core as fem
import numpy as np
import pytest
from fem_core.device.errors import DeviceLost, DeviceMemoryError

pytest.importorskip("numba_cuda", reason="numba-cuda isn't installed: fem-cuda's extra cuda13 has it")

HERE = Path(__file__)
COMPILER = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
DRIVER = os.environ.get("FEM_MAKE_BELIEVE_DRIVER")  # set by the test that starts this file anew


@pytest.mark.skipif(bool(DRIVER), reason="it has been started")
@pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="the simulator has no driver")
@pytest.mark.skipif(not COMPILER, reason="the make-believe driver needs gcc or clang; set CC")
def test_on_a_make_believe_driver(tmp_path):
    nvidia = pytest.importorskip("nvidia.cu13", reason="cuda.h comes with numba-cuda[cu13]")
    include = next(Path(folder) / "include" for folder in nvidia.__path__)
    library = tmp_path / "libcuda.so.1"
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-w", f"-I{include}", "-o", library, HERE.with_name("driver.c")], check=True
    )
    env = {"FEM_MAKE_BELIEVE_DRIVER": str(library), "LD_LIBRARY_PATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(HERE)]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


on_the_driver = pytest.mark.skipif(not DRIVER, reason="`test_on_a_make_believe_driver` starts it")


@pytest.fixture(scope="module")
def driver():
    library = ctypes.CDLL(DRIVER)
    library.fake_launched.restype = ctypes.c_char_p
    library.fake_allocations.restype = ctypes.c_long
    return library


@pytest.fixture
def runtime(driver):
    from fem_cuda.runtime import CUDARuntime

    runtime = CUDARuntime(1)
    runtime.open()
    yield runtime
    runtime.close()
    assert driver.fake_allocations() == 0, "memory wasn't given back"
    assert driver.fake_depth() == 0, "a context was left on the stack"


@on_the_driver
def test_the_device_is_described(runtime):
    described = runtime.describe()
    assert described["name"] == "Make-believe 1"
    assert described["memory"] == 1 << 30
    assert described["compute_capability"] == "9.0"
    assert runtime.seconds(lambda: None) == 1.5e-3


@on_the_driver
def test_arrays_go_there_and_back(runtime, driver):
    free, total = runtime.free_memory()
    values = np.arange(3_000_001.0)  # three pieces
    there, other = runtime.upload(values), runtime.empty(values.size, np.float64)
    runtime.copy(there, other)
    assert np.array_equal(runtime.download(other), values)
    assert not runtime.download(runtime.zeros(1000, np.int32)).any()
    assert runtime.download(runtime.upload(np.empty(0, np.float32))).dtype == np.float32
    assert runtime.free_memory() == (free - 2 * values.nbytes, total)
    del there
    assert runtime.free_memory() == (free - values.nbytes, total)


@on_the_driver
def test_memory_is_used_again(runtime, driver):
    array = runtime.empty(1000, np.float64)
    before, address = driver.fake_allocations(), array.address
    del array
    array = runtime.empty(1000, np.float64)
    assert (driver.fake_allocations(), array.address) == (before, address)
    del array  # the driver gets it back where it has no more
    most = runtime.free_memory()[0] // 8
    assert runtime.empty(most, np.float64).size == most
    assert driver.fake_allocations() == before


@on_the_driver
def test_launches(runtime, driver):
    runtime.compile()
    f8, i4 = runtime.zeros(1000, np.float64), runtime.zeros(1001, np.int32)
    runtime.launch("product", 1000, f8, f8, f8)
    assert driver.fake_launched() == b"product grid=8 block=128 together=0 n=1000"
    runtime.launch("multiply", 1000, i4, i4, f8, f8, f8)  # four threads a row
    assert driver.fake_launched() == b"multiply grid=32 block=128 together=0 n=1000"
    runtime.launch("count_places", 1000, i4, i4)
    assert driver.fake_launched() == b"count_places grid=8 block=128 together=0 n=1000"
    runtime.launch("put_zero", 0, i4, f8)
    assert driver.fake_launched().startswith(b"count_places"), "nothing was to be launched"
    for n, grid in ((1000, 32), (10**6, 4 * 10)):  # no more blocks than run at the same time
        runtime.conjugate_gradients(n, i4, i4, f8, f8, f8, f8, f8, f8)()
        assert driver.fake_launched() == b"conjugate_gradients grid=%d block=128 together=1 n=%d" % (grid, n)


@on_the_driver
def test_memory_that_is_not_there(runtime):
    with pytest.raises(
        DeviceMemoryError, match=r"an array needs 2\.15 GB on the device, 1\.07 GB of 1\.07 GB are free"
    ):
        runtime.empty(1 << 28, np.float64)


@on_the_driver
def test_memory_is_given_back_although_somebody_holds_it(runtime, driver):
    held = runtime.upload(np.arange(5))
    assert driver.fake_allocations() == 1
    runtime.close()
    assert driver.fake_allocations() == 0
    runtime.open()
    with pytest.raises(fem.BackendError, match="freed when the device was closed"):
        runtime.download(held)


@on_the_driver
def test_a_device_that_is_lost(runtime, driver):
    driver.fake_fail(700)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        runtime.synchronize()
    driver.fake_fail(0)


@on_the_driver
def test_a_driver_too_old_for_the_compiler(driver):
    from fem_cuda.runtime import CUDARuntime

    driver.fake_version(12080)
    with pytest.raises(
        fem.BackendUnavailable, match=r"too old for CUDA 13\..*: it supports CUDA 12\.8; update the driver"
    ):
        CUDARuntime(0).open()
    driver.fake_version(13030)
