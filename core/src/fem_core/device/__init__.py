"""What GPU backends share: a driver over any runtime, its values, errors and accounts. It imports NumPy only.

`DeviceBackend(runtime)` is for devices what `BatchedBackend(executor)` is for the CPU. See docs/gpu.md.
"""

from fem_core.device.errors import DeviceLost, DeviceMemoryError, device_error, unavailable
from fem_core.device.runtime import CHUNK, Runtime

__all__ = ["CHUNK", "DeviceLost", "DeviceMemoryError", "Runtime", "device_error", "unavailable"]
