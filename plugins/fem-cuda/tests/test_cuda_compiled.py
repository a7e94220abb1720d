"""fem-cuda's kernels compiled for every device that they may meet, and what surrounds them, without a GPU."""

import ctypes
import logging
import os
import re
from collections import Counter
from types import SimpleNamespace

import fem_core as fem
import pytest
from fem_core.device.errors import DeviceLost, DeviceMemoryError

numba_cuda = pytest.importorskip("numba_cuda", reason="numba-cuda isn't installed: fem-cuda's extra cuda13 has it")
if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    pytest.skip("the simulator compiles nothing", allow_module_level=True)

from cuda.core import Linker, LinkerOptions, ObjectCode
from fem_cuda import library, program
from fem_cuda.jit import KERNELS
from numba.cuda import dispatcher

DEVICES = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]

#: Entry points' parameters, as PTX has them, of what a launch passes.
PASSED = {ctypes.c_int32: "u32", ctypes.c_double: "f64", int: "u64"}


@pytest.fixture(scope="module")
def compiled():
    """Compiles for a device that isn't there: numba-cuda asks it for its compute capability."""
    with pytest.MonkeyPatch.context() as patch:

        def ptx(cc):
            patch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=cc))
            if cc not in found:
                found[cc] = {name: program.ptx(name, cc) for name in KERNELS}
            return found[cc]

        found = {}
        yield ptx


@pytest.fixture
def one_kernel(monkeypatch, tmp_path, compiled):
    """A program of one kernel, kept in a folder of its own."""
    compiled((9, 0))
    monkeypatch.setattr(program, "KERNELS", {"product": KERNELS["product"]})
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept" / "fem-cuda"


@pytest.mark.parametrize("cc", DEVICES, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
def test_every_kernel_compiles_for_every_device(compiled, cc):
    sources = compiled(cc)
    cubin = program.link(sources, cc)
    assert cubin.startswith(b"\x7fELF")
    for name, ptx in sources.items():
        assert f".visible .entry {name}(" in ptx
        assert b".text." + name.encode() in cubin
        assert ".local" not in ptx, f"{name} keeps something in local memory"
        assert not re.search(r"\b(atom|red)\.\S*\.f(32|64)", ptx), f"{name} adds floating-point numbers by chance"

    # The loop of conjugate gradients may spill what it needs between its parts: it has more threads for that.
    for name, most in (
        ("element_stiffness", 0),
        ("element_load", 0),
        ("element_derived", 0),
        ("conjugate_gradients", 96),
    ):
        said = _said_of(name, sources[name], cc)
        assert int(re.search(r"(\d+) bytes spill stores", said)[1]) <= most, said
        assert int(re.search(r"Used (\d+) registers", said)[1]) * program.BLOCK * program.TOGETHER.get(name, 1) <= 65536


def _said_of(name, ptx, cc):
    """What the assembler says of a kernel's registers and memory."""
    options = LinkerOptions(arch=f"sm_{cc[0]}{cc[1]}", ptxas_options=["-v"], verbose=True)
    linker = Linker(
        ObjectCode.from_ptx(ptx.encode()), ObjectCode.from_library(program.runtime_library()), options=options
    )
    linker.link("cubin")
    return linker.get_info_log().split(f"Function properties for {name}", 1)[1]


def test_the_element_kernel_is_in_double_precision_with_multiply_adds(compiled):
    ptx = compiled((9, 0))["element_stiffness"]
    words = Counter(re.findall(r"\s([a-z.]+\.f64)\s", ptx))
    assert words["div.rn.f64"] == 9
    assert words["st.global.f64"] == 36
    assert words["fma.rn.f64"] > 50
    assert sum(n for word, n in words.items() if word.split(".")[0] in ("add", "sub", "mul", "fma", "div")) < 650
    assert ".f32" not in ptx


@pytest.mark.parametrize("name", ["multiply_f4", "subtract_product_f4", "multiply_dense", "solve_lines", "add_f4"])
def test_single_precision_stays_single(compiled, name):
    ptx = compiled((9, 0))[name]
    assert ".f32" in ptx
    assert ".f64" not in ptx


def test_a_launch_passes_what_a_kernel_takes(compiled):
    array = SimpleNamespace(size=5, dtype=SimpleNamespace(itemsize=8), address=64)
    for name, ptx in compiled((9, 0)).items():
        types = program.signature(KERNELS[name])
        arguments = [{"int32": 1, "float64": 1.0}.get(str(one), array) for one in types]
        words = [program._words(given, hasattr(one, "ndim")) for given, one in zip(arguments, types, strict=True)]
        passed = [PASSED[type(word)] for parts in words for word in parts]
        assert passed == re.findall(rf"\.param \.(\w+) {name}_param_\d+", ptx), name


def test_compiled_code_is_kept(one_kernel, monkeypatch):
    first = program.cubin((9, 0))
    (kept,) = one_kernel.iterdir()
    assert kept.name.startswith("sm_90-")
    monkeypatch.setattr(program, "ptx", lambda name, cc: pytest.fail("it was compiled again"))
    assert program.cubin((9, 0)) == first


@pytest.mark.parametrize("damage", [lambda whole: whole[:100], lambda whole: b"", lambda whole: whole[:-1] + b"?"])
def test_damaged_code_is_compiled_again(one_kernel, damage, caplog):
    program.cubin((9, 0))
    (kept,) = one_kernel.iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    with caplog.at_level(logging.WARNING):
        again = program.cubin((9, 0))
    assert "it is damaged" in caplog.text
    assert again.startswith(b"\x7fELF")
    assert program.compiled.load(kept, bytes) == again


def test_a_folder_that_cannot_be_written_to_is_no_error(one_kernel, caplog):
    one_kernel.parent.write_text("a file is in its place")
    assert program.cubin((9, 0))
    assert f"{one_kernel} isn't used as a cache" in caplog.text


def test_a_device_that_is_unknown_to_the_compiler_is_a_reason(one_kernel):
    with pytest.raises(fem.BackendError, match=r"the kernels can't be compiled for sm_31: .*pip install"):
        program.cubin((3, 1))


def _raised(number):
    from cuda.bindings.driver import CUresult
    from numba.cuda.cudadrv.driver import CudaAPIError

    return CudaAPIError(CUresult(number), f"Call to cuSomething results in {CUresult(number).name}")


class CUDAError(Exception):
    """As cuda-core's, which says no number."""


@pytest.mark.parametrize("number", [2, 100, 700, 719, 999])
def test_the_number_of_an_error_is_found(number):
    from cuda.bindings.driver import CUresult

    assert library.number(_raised(number)) == number
    assert library.number(CUDAError(f"{CUresult(number).name}: it went wrong")) == number
    assert library.number(ValueError("CUDA_ERROR_NO_DEVICE")) is None


def test_errors_on_the_way_are_the_core_s():
    for number, kind in ((2, DeviceMemoryError), (700, DeviceLost), (1, fem.BackendError)):
        with pytest.raises(kind), library.running(lambda: (10, 20), 30):
            raise _raised(number)


def test_errors_at_opening_are_reasons():
    for number, reason in ((100, "there is no GPU"), (804, "driver"), (2, "end the other process")):
        with pytest.raises(fem.BackendUnavailable, match=reason), library.opening():
            raise _raised(number)


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is a GPU")
def test_a_machine_without_a_driver_is_told_so():
    with pytest.raises(fem.BackendUnavailable, match="there is no NVIDIA driver"):
        fem.open_backend("cuda")
