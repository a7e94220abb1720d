"""The interface to a GPU library: memory, and launches of the kernels that `fem_core.device.reference` defines."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import DTypeLike

from fem_core.types import Array

#: Values of one item of `sum_chunks`, `scan_chunks` and `dot_chunks`.
CHUNK = 256

#: Kernels with a matrix row, or a long sum, for each item: a GPU gives such an item to several threads.
ROW_KERNELS = ("subtract_product", "scale_matrix", "residual", "multiply", "multiply_f4", "subtract_product_f4")
SUM_KERNELS = ("dot_chunks", "multiply_dense")

#: The entries of `state` in `conjugate_gradients`.
RR, BEFORE, PAP, TARGET, ITERATION, LIMIT, STATUS = range(7)
#: Length of `state`.
STATE = 8

#: The values of its `STATUS`.
RUNNING, CONVERGED, NOT_FINITE, LIMIT_REACHED, INDEFINITE = range(5)


class Runtime(Protocol):
    """One device, as `DeviceBackend` uses it. Device arrays are opaque, 1-D and contiguous.

    Errors must be raised as errors of `fem_core.device.errors`, never as errors of the library.
    """

    def open(self) -> None:
        """Open the device. Raises BackendUnavailable with the reason."""

    def compile(self) -> None:
        """Compile all kernels, and store them on disk."""

    def close(self) -> None:
        """Release all memory; may be called more than once, and after any error."""

    def empty(self, length: int, dtype: DTypeLike) -> Any:
        """A device array of int32, float64 or float32."""

    def zeros(self, length: int, dtype: DTypeLike) -> Any:
        """A device array of zeros."""

    def upload(self, values: Array) -> Any:
        """The values in C order as a flat device array of the same dtype."""

    def download(self, values: Any) -> Array:
        """The array on the host. Waits for all work launched before."""

    def copy(self, source: Any, target: Any) -> None:
        """Overwrite `target`, of the same length and dtype."""

    def launch(self, kernel: str, n: int, *arguments: Any) -> None:
        """Launch a kernel over the items 0 … n - 1; a Python int is passed as int32, a float as float64."""

    def synchronize(self) -> None:
        """Wait for everything that was launched."""

    def conjugate_gradients(
        self, n: int, indptr: Any, indices: Any, A: Any, x: Any, r: Any, p: Any, q: Any, state: Any
    ) -> Callable[[], None]:
        """A function that runs some dozens of steps of conjugate gradients at each call, asynchronously.

        `fem_core.device.reference.step` defines a step. Once the status is set, a call does nothing.
        """

    def coo_to_csr(self, rows: Any, columns: Any, values: Any, n: int) -> tuple[Any, Any, Any]:
        """indptr, indices and values of the sum of all entries: the published method of assembly."""

    def free_memory(self) -> tuple[int, int]:
        """Free and total memory in bytes."""

    def seconds(self, work: Callable[[], object]) -> float:
        """Seconds that the work takes on the device, measured by its events."""

    def describe(self) -> Mapping[str, Any]:
        """`name` of the device, `memory` in bytes, `compute_capability`, `driver`, versions.

        `simulated` is True if there is no real device.
        """
