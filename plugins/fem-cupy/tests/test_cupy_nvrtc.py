"""The kernels of fem-cupy compiled by NVRTC, the compiler that CuPy uses, for every GPU: without one."""

import ctypes
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, files

import pytest
from fem_cupy.source import OPTIONS, STAGES, kernels, source

#: NVRTC's wheels.
WHEELS = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")

#: Compute capabilities; an NVRTC need not know the later ones.
ALWAYS, LATER = (75, 80, 86, 89, 90), (100, 120)

#: What CuPy adds to our own options.
CUPY_ADDS = ("-ftz=true", "--device-as-default-execution-space")

_FIGURES = re.compile(
    r"Function properties for (\w+)\n.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
    r".*?Used (\d+) registers"
)


class Nvrtc:
    """The library of a wheel."""

    def __init__(self, wheel: str) -> None:
        path = next(path for path in files(wheel) or () if re.search(r"libnvrtc\.so|nvrtc64_\d+_0\.dll", path.name))
        self._library = ctypes.CDLL(str(path.locate()))
        number = ctypes.c_int()
        self._ask("nvrtcGetNumSupportedArchs", ctypes.byref(number))
        known = (ctypes.c_int * number.value)()
        self._ask("nvrtcGetSupportedArchs", known)
        self.known = set(known)

    def _ask(self, function: str, *arguments: object) -> None:
        status = getattr(self._library, function)(*arguments)
        assert status == 0, f"{function}: error {status}"

    def _text(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._ask(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self._ask(f"nvrtcGet{what}", program, text)
        return text.raw

    def compile(self, code: str, *options: str) -> tuple[bytes, str]:
        """The cubin and what the compiler says. Raises AssertionError with it if it doesn't compile."""
        program = ctypes.c_void_p()
        self._ask("nvrtcCreateProgram", ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None)
        try:
            given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = self._library.nvrtcCompileProgram(program, len(options), given)
            log = self._text("ProgramLog", program).rstrip(b"\0").decode()
            assert status == 0, log
            return self._text("CUBIN", program), log
        finally:
            self._ask("nvrtcDestroyProgram", ctypes.byref(program))


@cache
def nvrtc(wheel: str) -> Nvrtc | None:
    try:
        return Nvrtc(wheel)
    except PackageNotFoundError:
        return None


@pytest.mark.parametrize("capability", [*ALWAYS, *LATER])
@pytest.mark.parametrize("wheel", WHEELS)
def test_every_kernel_compiles_into_registers(wheel, capability):
    # Without a warning, with no array in local memory and nothing spilled there.
    compiler = nvrtc(wheel)
    if compiler is None:
        pytest.skip(f"{wheel} isn't installed")
    if capability in LATER and capability not in compiler.known:
        pytest.skip(f"this NVRTC knows no sm_{capability}")
    for stage in STAGES:
        options = (*OPTIONS, *CUPY_ADDS, f"-arch=sm_{capability}", "--ptxas-options=-v")
        cubin, log = compiler.compile(source(stage), *options)
        assert cubin.startswith(b"\x7fELF")
        said = [line for line in log.splitlines() if line and not re.match(r"ptxas (info   |      )", line)]
        assert not said, said
        figures = {name: tuple(map(int, numbers)) for name, *numbers in _FIGURES.findall(log)}
        assert figures.keys() == kernels(stage).keys()
        for name, (stack, stores, loads, registers) in figures.items():
            assert (stack, stores, loads) == (0, 0, 0), f"{name} has {stack} bytes of stack, {stores} + {loads} spilled"
            assert registers <= 128, f"{name} takes {registers} registers"


@pytest.mark.parametrize("wheel", WHEELS)
def test_a_warning_is_seen(wheel):
    # What the test above relies on: a warning is in the log, with the line of the file that it is in.
    compiler = nvrtc(wheel)
    if compiler is None:
        pytest.skip(f"{wheel} isn't installed")
    code = source("derived").replace("double v_x = 0,", "int unused;\n    double v_x = 0,")
    _, log = compiler.compile(code, *OPTIONS, *CUPY_ADDS, "-arch=sm_90")
    line = code.split("int unused")[0].rsplit('"derived.cu"\n', 1)[1].count("\n")
    start = int(re.findall(r'#line (\d+) "derived.cu"', code)[-1])
    assert f"derived.cu({start + line}): warning" in log
