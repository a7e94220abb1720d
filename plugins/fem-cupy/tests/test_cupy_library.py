"""What lies between CuPy and the core: reasons, errors, the folder of compiled kernels, transfers."""

import ctypes
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import fem_core as fem
import fem_cupy
import numpy as np
import pytest
from fem_core.device.errors import DeviceLost, DeviceMemoryError
from fem_core.device.staging import Staging
from fem_cupy import library
from fem_cupy.library import opening, running
from fem_cupy.runtime import CuPyRuntime, _as_in_c
from hypothesis import given
from hypothesis import strategies as st


def in_a_process(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


# Transfers


class Device:
    """Memory of a device whose copies happen when they are waited for, and no sooner."""

    def __init__(self, length):
        self.memory = np.zeros(length, np.uint8)
        self.waiting, self.done, self.ahead = [], 0, 0

    def send(self, target, source, size):
        self.waiting.append((target, source, size))

    def until(self, place):
        self.ahead = max(self.ahead, len(self.waiting) - self.done)
        for target, source, size in self.waiting[self.done : place]:
            ctypes.memmove(target, source, size)
        self.done = max(self.done, place)

    def staging(self, size):
        return Staging([np.zeros(size, np.uint8) for _ in range(2)], [Event(self), Event(self)], self.send, None)


class Event:
    def __init__(self, device):
        self.device, self.place = device, 0

    def record(self, stream):
        self.place = len(self.device.waiting)

    def synchronize(self):
        self.device.until(self.place)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=6), st.integers(1, 16))
def test_transfers_in_pieces(transfers, size):
    # Whatever is sent and fetched one after the other, though the device does nothing before it is waited for.
    device = Device(8 * 40)
    staging = device.staging(8 * size)
    there = np.zeros(40)
    address = device.memory.ctypes.data
    for step, (up, length) in enumerate(transfers):
        if up:
            values = np.arange(length) + 100.0 * step
            there[:length] = values
            staging.upload(values, address)
            values[:] = np.nan  # it was taken
        else:
            values = np.full(length, np.nan)
            staging.download(address, values)
            assert np.array_equal(values, there[:length])


def test_a_piece_is_on_its_way_while_the_next_is_filled():
    device = Device(80)
    device.staging(8).upload(np.arange(10.0), device.memory.ctypes.data)
    assert device.ahead == 2


# Arguments


def test_numbers_are_passed_as_the_kernels_take_them():
    assert _as_in_c(3).dtype == np.int32
    assert _as_in_c(1e12).dtype == np.float64


cupy = pytest.importorskip("cupy") if find_spec("cupy") else None
with_cupy = pytest.mark.skipif(cupy is None, reason="CuPy isn't installed")


@with_cupy
def test_all_that_is_asked_of_cupy_is_there():
    # Most of it can't be called without a GPU; that a name is misspelt or gone shows nevertheless.
    text = (Path(fem_cupy.__file__).parent / "runtime.py").read_text(encoding="utf-8")
    names = set(re.findall(r"\b_?cupy\.((?:\w+\.)*\w+)", text)) - {"library", "runtime", "source"}
    assert {"RawModule", "cuda.Stream", "cuda.runtime.memcpyAsync"} < names
    assert [name for name in names if not resolved(cupy, name)] == []
    methods = {
        cupy.cuda.Stream: ("synchronize", "begin_capture", "end_capture"),
        cupy.cuda.Graph: ("launch",),
        cupy.cuda.Event: ("record", "synchronize"),
        cupy.cuda.MemoryPool: ("malloc", "free_all_blocks", "free_bytes"),
        cupy.cuda.MemoryPointer: ("copy_from_device_async",),
        cupy.cuda.Device: ("attributes",),
        cupy.RawModule: ("get_function",),
    }
    for owner, asked in methods.items():
        assert [name for name in asked if not hasattr(owner, name)] == []


def resolved(owner, name):
    for part in name.split("."):
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


# Errors


@with_cupy
@pytest.mark.parametrize("kind", ["CUDARuntimeError", "CUDADriverError"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [(2, DeviceMemoryError), (700, DeviceLost), (719, DeviceLost), (98, fem.BackendError)],
)
def test_errors_of_cuda(kind, number, expected):
    module = cupy.cuda.runtime if kind == "CUDARuntimeError" else cupy.cuda.driver
    error = RuntimeError.__new__(getattr(module, kind), "what CUDA says")  # that of the driver needs one to be made
    error.args, error.status = ("what CUDA says",), number
    with pytest.raises(fem.BackendError) as raised, running(lambda: (10, 20)):
        raise error
    assert type(raised.value) is expected
    assert raised.value.__cause__ is error
    assert number == 2 or f"CUDA error {number}" in str(raised.value)


@with_cupy
def test_out_of_memory_says_how_much():
    error = cupy.cuda.memory.OutOfMemoryError(3_000_000_000, 0)
    with pytest.raises(DeviceMemoryError, match=r"3\.00 GB on the device, 1\.00 GB of 2\.00 GB are free"):
        with running(lambda: (1_000_000_000, 2_000_000_000)):
            raise error


@with_cupy
def test_a_kernel_that_does_not_compile():
    with pytest.raises(fem.BackendError, match=r"NVRTC can't compile the kernels: solve\.cu"):
        with running(lambda: (0, 0)):
            raise cupy.cuda.compiler.CompileException("solve.cu(3): error", "", "", ())


@pytest.mark.parametrize("around", [lambda: running(lambda: (0, 0)), opening])
def test_other_errors_are_left_alone(around):
    with pytest.raises(KeyError), around():
        raise KeyError("ours")


# Opening


def test_without_cupy_it_says_how_to_have_it(monkeypatch):
    monkeypatch.setattr(fem_cupy, "find_spec", lambda name: None)
    assert fem_cupy.available() == f"CuPy isn't installed: {fem_cupy.INSTALL}"


@with_cupy
def test_without_a_gpu_it_says_why():
    try:
        if cupy.cuda.runtime.getDeviceCount():
            pytest.skip("there is a GPU")
    except cupy.cuda.runtime.CUDARuntimeError:
        pass
    with pytest.raises(fem.BackendUnavailable, match=r"driver|GPU"):
        fem.open_backend("cupy")
    runtime = CuPyRuntime()
    runtime.close()
    with pytest.raises(fem.BackendError, match="closed"):
        runtime.zeros(3, np.float64)


def test_light_import():
    code = "import sys, fem_cupy; print(sorted({'cupy', 'numba', 'fem_core.device.backend'} & set(sys.modules)))"
    assert in_a_process(code)[0] == "[]"


# The folder of compiled kernels

CACHE = """
import logging
logging.basicConfig()
from fem_cupy.library import load
load()
from cupy.cuda import compiler
backend = compiler._kernel_cache_backend
in_memory = compiler._get_bool_env_variable("CUPY_CACHE_IN_MEMORY", False)
"""


@with_cupy
def test_a_damaged_entry_is_compiled_again(tmp_path):
    # CuPy's own doing: entries bear a digest, and come into being by a rename.
    code = CACHE + (
        "backend.save('a.cubin', b'compiled', '')\n"
        "assert not in_memory and backend.load('a.cubin') == b'compiled'\n"
        f"path = {str(tmp_path / 'cache' / 'a.cubin')!r}\n"
        "content = open(path, 'rb').read()\n"
        "for length in range(len(content)):\n"
        "    open(path, 'wb').write(content[:length])\n"
        "    assert backend.load('a.cubin') is None\n"
        "import os; print(os.listdir(os.path.dirname(path)))"
    )
    assert in_a_process(code, CUPY_CACHE_DIR=str(tmp_path / "cache"))[0] == "['a.cubin']"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owner and mode are POSIX's")
@pytest.mark.parametrize("spoil", [lambda path: path.parent.chmod(0o777), lambda path: path.chmod(0o666)])
def test_a_folder_with_what_may_be_of_another_user_is_not_used(tmp_path, monkeypatch, caplog, spoil):
    # CuPy would run it.
    kept = tmp_path / "kept"
    monkeypatch.setenv("CUPY_CACHE_DIR", str(kept))
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "0")
    library._keep_or_not()
    (kept / "a.cubin").write_bytes(b"compiled")
    library._keep_or_not()
    assert (os.environ["CUPY_CACHE_DIR"], os.environ["CUPY_CACHE_IN_MEMORY"], caplog.messages) == (str(kept), "0", [])
    spoil(kept / "a.cubin")
    library._keep_or_not()
    assert os.environ["CUPY_CACHE_IN_MEMORY"] == "1"
    assert f"{kept} isn't used as a cache" in caplog.text
    assert "lets other users write" in caplog.text


@with_cupy
def test_a_folder_that_cannot_be_written_to(tmp_path):
    # CuPy by itself can't even be imported then.
    (tmp_path / "file").touch()
    out, err = in_a_process(CACHE + "print(in_memory)", CUPY_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert out == "True"
    assert "compiled kernels can't be saved in" in err
