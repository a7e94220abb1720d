"""The backend: the core's driver of devices on numba-cuda's runtime."""

from typing import Literal

from fem_core.device.backend import DeviceBackend

from fem_cuda.runtime import CUDARuntime


class CUDA(DeviceBackend):
    """`cuda`: all stages on one GPU.

    Parameters
    ----------
    device : int
        Its number.
    assembly : "gather" or "coo"
        Whether each matrix entry gathers its terms, or all terms are sorted by their indices, the published way.
    """

    def __init__(self, device: int = 0, assembly: Literal["gather", "coo"] = "gather") -> None:
        super().__init__(CUDARuntime(device), assembly)
