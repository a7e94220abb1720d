"""The GPUs of this machine, as the driver reports them; no CUDA library is imported.

The driver is asked in a process of its own (`python -m fem_core.support.gpus`), as a broken one may crash or hang.
"""

import ctypes
import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fem_core.support.launch import program, python

_LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
_COMPUTE_CAPABILITY = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_TIMEOUT = 20.0  # seconds


def find_gpus() -> dict[str, Any]:
    """`driver`, `cuda` (the newest CUDA that the driver knows), `devices` and `reason`, why there is no device.

    A device has `name`, `memory` in bytes and `compute_capability`.
    """
    found = ask(python("-m", __name__), json.loads) or {"reason": "the driver doesn't answer"}
    version = [program("nvidia-smi") or "", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = ask(version, lambda out: out.split()[0]) if version[0] else None
    return {"driver": driver, "cuda": None, "devices": [], "reason": ""} | found


def has_driver() -> bool:
    """Whether the driver's library is there; it is loaded into this process, as any CUDA library would."""
    return any(map(_load, _LIBRARIES))


def ask(command: list[str], read: Callable[[str], Any]) -> Any:
    """What `read` makes of the output of a command; None if it fails or takes too long."""
    with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
        return read(done.stdout)
    return None


def _from_driver() -> dict[str, Any]:
    """What libcuda says of itself and its devices."""
    library = next(filter(None, map(_load, _LIBRARIES)), None)
    if library is None:
        return {"reason": "there is no NVIDIA driver (libcuda)"}
    number = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(number))
    found: dict[str, Any] = {"cuda": f"{number.value // 1000}.{number.value % 1000 // 10}"}
    if status := library.cuInit(0):
        return found | {"reason": f"the NVIDIA driver can't be used (cuInit: error {status})"}
    library.cuDeviceGetCount(ctypes.byref(number))
    devices = [_device(library, ordinal) for ordinal in range(number.value)]
    return found | {"devices": devices, "reason": "" if devices else "the NVIDIA driver has no device"}


def _load(name: str) -> Any:
    with suppress(OSError):
        return ctypes.CDLL(name)
    return None


def _device(library: Any, ordinal: int) -> dict[str, Any]:
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(device), ordinal)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in _COMPUTE_CAPABILITY:
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(str(value.value))
    return {"name": name.value.decode(), "memory": memory.value, "compute_capability": ".".join(capability)}


if __name__ == "__main__":
    print(json.dumps(_from_driver()))
