"""The common part of GPU backends: a driver for any runtime, with values, errors and memory. It imports only NumPy.

`DeviceBackend(runtime)` makes a backend from a runtime, as `BatchedBackend(executor)` does from an executor. See
docs/gpu.md.
"""

from fem_core.device.errors import DeviceLost, DeviceMemoryError, device_error, unavailable
from fem_core.device.runtime import CHUNK, Runtime

__all__ = ["CHUNK", "DeviceLost", "DeviceMemoryError", "Runtime", "device_error", "unavailable"]
