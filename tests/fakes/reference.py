"""A device backend without a device: the driver over the reference runtime."""

from fem_core.device import info
from fem_core.device.backend import DeviceBackend
from fem_core.device.reference import ReferenceRuntime
from fem_core.plugins.backend import BackendInfo


class Reference(DeviceBackend):
    """As a plugin's own backend: the options of all device backends."""

    def __init__(self, device: int = 0, assembly="gather", memory: int = 1 << 34) -> None:
        self.number = device
        super().__init__(ReferenceRuntime(memory), assembly)

    @property
    def runtime(self) -> ReferenceRuntime:
        return self.device.runtime


INFO = BackendInfo(
    name="reference",
    summary="a device's driver over NumPy",
    factory="fakes.reference:Reference",
    stages=info.STAGES,
    solver_methods=info.SOLVER_METHODS,
    options=info.OPTIONS,
    device="reference",
)
