"""The kernels of fem-cupy, compiled for the host, and on a GPU if there is one: what the reference states."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from fem_core import BackendUnavailable, generate
from fem_core.device import reference
from fem_core.mesh.quad8 import REVERSED
from fem_core.testing.kernels import KERNELS, compare
from fem_cupy import source
from fem_cupy.runtime import CuPyRuntime
from host_runtime import COMPILER, SANITIZE, SIGNATURES, HostRuntime, build, library
from hypothesis import given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)

#: Kernels that the runtime has for itself.
OWN = {"cg_check", "cg_direction", "cg_product", "cg_step"}


def opened(runtime):
    runtime.open()
    runtime.compile()
    return runtime


@pytest.fixture(scope="module")
def gpu():
    try:
        runtime = opened(CuPyRuntime())
    except BackendUnavailable as error:
        pytest.skip(str(error))
    yield runtime
    runtime.close()


def test_kernels_lie_in_the_order_of_the_reference():
    # So that sources in another language lie beside them.
    assert [name for name in SIGNATURES if name not in OWN] == list(reference.KERNELS)


@pytest.mark.parametrize("name", reference.KERNELS)
def test_parameters_are_those_of_the_reference(name):
    in_c = {reference.I4: "int*", reference.F8: "double*", reference.F4: "float*", int: "int", float: "double"}
    hints = [hint for parameter, hint in get_type_hints(reference.KERNELS[name]).items() if parameter != "return"]
    assert [type_.removeprefix("const ") for type_ in SIGNATURES[name]] == [in_c[hint] for hint in hints]


@pytest.mark.parametrize("order", [0, 1, 7], ids=["in order", "backwards", "shuffled"])
@pytest.mark.parametrize("name", KERNELS)
def test_on_the_host(name, order):
    # In whatever order blocks come, and threads of a block.
    runtime = opened(HostRuntime(library(), order))

    @settings(max_examples=8)
    @given(seeds)
    def run(seed):
        compare(runtime, name, seed, side=10)

    run()


@pytest.mark.parametrize("name", KERNELS)
def test_on_a_gpu(gpu, name):
    if name == "coo_to_csr":
        pytest.importorskip("cupyx.scipy.sparse", exc_type=ImportError)

    @settings(max_examples=25)
    @given(seeds)
    def run(seed):
        compare(gpu, name, seed)

    run()


#: Wrong kernels: file, text, what is put in its place, kernel. Some are wrong only where threads don't come in order.
FAULTS = {
    "a dropped Gauss point": (
        "assembly.cu", "weight(i, j) * k_e", "weight(i, j) * (i * j < 4) * k_e", "element_stiffness",
    ),
    "swapped mid-sides": ("element.cuh", "c[1] = a[5] - a[7]", "c[1] = a[7] - a[5]", "element_load"),
    "a missed orphan": ("sparsity.cu", "found > 0 ? found : 1", "found", "list_columns"),
    "a sum without its last term": (
        "assembly.cu", "s < source_start[t + 1]", "s + 1 < source_start[t + 1]", "sum_entries",
    ),
    "a lane that isn't added": ("common.cuh", "step = WIDTH / 2", "step = WIDTH / 4", "multiply"),
    "a block that isn't added": (
        "solve.cu", "int block = first", "int block = first + 1", "conjugate_gradients",
    ),
    "a sum read too early": ("solve.cu", "= a;\n    __syncthreads();\n", "= a;\n", "conjugate_gradients"),
    "a flag read too early": ("solve.cu", "__syncthreads();\n    if (!last)", "if (!last)", "conjugate_gradients"),
    "threads that leave others waiting": (
        "common.cuh", "Real sum = 0;", "Real sum = 0; if (i >= n) return 0;", "residual",
    ),
    "a step after the end": (
        "solve.cu", "!= RUNNING)\n        return;\n    const double alpha",
        "< 0)\n        return;\n    const double alpha", "conjugate_gradients",
    ),
    "δ read where β is 0": ("multigrid.cu", "if (beta != 0)", "", "chebyshev"),
    "single precision": ("derived.cu", "const double u_x =", "const float u_x =", "element_derived"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_kernel_is_found(fault, tmp_path):
    file, text, other, kernel = FAULTS[fault]
    sources = shutil.copytree(source.FOLDER, tmp_path / "kernels")
    right = (sources / file).read_text(encoding="utf-8")
    assert right.count(text) == 1
    (sources / file).write_text(right.replace(text, other), encoding="utf-8")
    runtime = opened(HostRuntime(build(tmp_path / "wrong.so", "-Wno-error", "-O0", sources=sources), order=3))

    def some_seeds():
        for seed in range(20):
            compare(runtime, kernel, seed, side=12)

    with pytest.raises(AssertionError):
        some_seeds()


SANITIZED = """
import sys
from host_runtime import HostRuntime
from fem_core.mesh.quad8 import REVERSED
from fem_core.testing.kernels import KERNELS, compare
runtime = HostRuntime(sys.argv[1], order=int(sys.argv[2]))
runtime.open()
for name in KERNELS:
    for seed in range(4):
        compare(runtime, name, seed)
print("clean")
"""


def test_nothing_is_read_or_written_out_of_bounds(tmp_path):
    # AddressSanitizer and UndefinedBehaviorSanitizer see every access; NumPy's arrays lie in their memory.
    found = subprocess.run([COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    asan = Path(found.stdout.strip())
    if not asan.is_absolute():
        pytest.skip(f"{COMPILER} has no AddressSanitizer")
    sanitized = build(tmp_path / "sanitized.so", *SANITIZE)
    options = {"LD_PRELOAD": str(asan), "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"}
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED, sanitized, "2"],
        env={**os.environ, **options, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "clean", done.stderr[-3000:]


@pytest.mark.parametrize("kernel", ["element_stiffness", "element_load"])
def test_the_sign_of_the_determinant_is_kept(kernel):
    # Elements that are clockwise are refused or turned before: should one come through, nothing hides it.
    mesh = generate.duct(nx=2, ny=2)
    x, y, quad8 = mesh.x, mesh.y, mesh.quad8[:, REVERSED].ravel()
    given = (np.ones(1), 0) if kernel == "element_stiffness" else (np.ones(8 * 4),)
    expected = np.empty((36 if kernel == "element_stiffness" else 8) * 4)
    reference.KERNELS[kernel](4, x, y, quad8, *given, expected)
    assert expected.min() < -0.01
    runtime = opened(HostRuntime(library()))
    there = [runtime.upload(value) if isinstance(value, np.ndarray) else value for value in (x, y, quad8, *given)]
    found = runtime.zeros(expected.size, np.float64)
    runtime.launch(kernel, 4, *there, found)
    np.testing.assert_allclose(runtime.download(found), expected, rtol=0, atol=1e-14)


def test_arrays_of_another_type_are_refused():
    runtime = opened(HostRuntime(library()))
    a, out = runtime.upload(np.ones(3)), runtime.zeros(3, np.float32)
    with pytest.raises(AssertionError, match="float32"):
        runtime.launch("product", 3, a, a, out)
