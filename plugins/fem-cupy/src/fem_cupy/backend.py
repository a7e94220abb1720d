"""The backend: the core's driver of devices on CuPy's runtime."""

from typing import Literal

from fem_core.device.backend import DeviceBackend

from fem_cupy.runtime import CuPyRuntime


class CuPy(DeviceBackend):
    """`cupy`: all stages on one GPU.

    Parameters
    ----------
    device : int
        Its number.
    assembly : "gather" or "coo"
        Whether each matrix entry gathers its terms, or all terms are sorted by their indices, the published way.
    """

    def __init__(self, device: int = 0, assembly: Literal["gather", "coo"] = "gather") -> None:
        super().__init__(CuPyRuntime(device), assembly)
