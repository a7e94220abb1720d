"""Memory that is short is named, in whatever words a library says it, and a process's own limits count."""

import errno
import subprocess
import sys

import pytest
from fem_core.cli.errors import Status, judge
from fem_core.errors import FemError, NotEnoughMemory
from fem_core.run.chain import named
from fem_core.support.memory import lacks_memory, not_enough

SHORT = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    ImportError("libx.so: failed to map segment from shared object"),
    RuntimeError("can't start new thread"),
    RuntimeError("SUPERLU_MALLOC fails for buf"),
]


@pytest.mark.parametrize("error", SHORT, ids=repr)
def test_memory_that_is_short_is_named_by_the_command_line(error):
    assert lacks_memory(error)
    status, line = judge(error)
    assert status is Status.USAGE
    assert line.startswith("fem: error: not enough memory: ")
    assert line.endswith("allow more memory")


def test_other_errors_keep_their_words():
    other = [ValueError("x"), OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ImportError("x")]
    assert not any(map(lacks_memory, other))


def test_reasons_that_lead_back_to_themselves_end():
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert not lacks_memory(first)


def test_the_reason_may_be_under_other_words():
    error = ValueError("the file is broken")
    error.__context__ = ImportError("no module")
    error.__context__.__cause__ = MemoryError()
    assert lacks_memory(error)


def test_the_error_is_ours_and_pythons():
    # A caller may catch either.
    error = not_enough("the factors", MemoryError("a block"))
    assert isinstance(error, FemError)
    assert isinstance(error, MemoryError)
    assert str(error).startswith("not enough memory: the factors (a block)")


@pytest.mark.parametrize("provider", ["core", "numba"])
@pytest.mark.parametrize("raised", SHORT[:2], ids=repr)
def test_a_stage_that_lacks_memory_says_so(raised, provider):
    told = f"^not enough memory: solve_system by {provider} failed.*a solver that needs less memory$"
    with pytest.raises(NotEnoughMemory, match=told), named(provider, "solve_system"):
        raise raised


LIMITED = """
import resource
from fem_core.support.hardware import available_memory
limit = {limit}
resource.setrlimit(resource.{kind}, (limit, limit))
left = available_memory()
assert 0 < left < limit, left
try:
    bytearray(left + (64 << 20))
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't tell what a process has mapped")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_process_counts(kind):
    # What a process has mapped already is no longer free.
    code = LIMITED.format(kind=kind, limit=3 << 30)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "refused\n", done.stderr


BLAS = """
import resource, sys
import fem_core as fem
mesh = fem.generate.duct(nx=4, ny=4)
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
limit = mapped + (20 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    fem.solve(mesh, backend="numpy", solver="direct")
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't tell what a process has mapped")
def test_linear_algebra_without_room_for_its_buffers_is_refused():
    # SciPy's OpenBLAS would try for ever to get its buffer, NumPy's would end the process.
    done = subprocess.run([sys.executable, "-c", BLAS], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("not enough memory: linear algebra needs 100 MB"), done.stderr
    assert done.returncode == 0
