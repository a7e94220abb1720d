"""Errors of devices, from the numbers of CUDA: the driver's and the runtime's are the same from 100 on."""

from collections.abc import Mapping

from fem_core.errors import BackendError, BackendUnavailable, DeviceError, DeviceMissing
from fem_core.support.gpus import has_driver
from fem_core.support.wording import byte_size

#: Out of memory.
MEMORY = 2

_NO_DEVICE = 100

#: Errors that destroy the context: every later call in this process fails.
STICKY: Mapping[int, str] = {
    214: "uncorrectable ECC error",
    220: "uncorrectable NVLink error",
    700: "illegal memory access",
    702: "kernel took too long",
    709: "context is destroyed",
    710: "assertion in a kernel",
    714: "hardware stack error",
    715: "illegal instruction",
    716: "misaligned address",
    717: "invalid address space",
    718: "invalid program counter",
    719: "kernel failed",
    721: "kernel failed",
}

#: Why a device can't be opened, and the way out.
CLOSED: Mapping[int, str] = {
    3: "the driver can't be initialised",
    34: "CUDA's stub library was loaded instead of the driver; remove it from LD_LIBRARY_PATH",
    35: "the NVIDIA driver is too old for this CUDA; update it, install the extra for an older CUDA, or use a CPU "
    "backend",
    46: "the device is busy or set to exclusive use by another process",
    101: "there is no such GPU; `fem doctor` lists them",
    209: "the kernels don't fit this GPU",
    222: "the driver is too old for kernels compiled by this CUDA; update the driver",
    802: "the GPU isn't ready yet (nvidia-fabricmanager)",
    803: "the driver and the kernel module have different versions; restart the machine",
    804: "this GPU can't run this CUDA with its old driver; update the driver",
    999: "unknown error in the driver",
}


class DeviceMemoryError(DeviceError):
    """The memory of the device is full; the message gives the sizes and says what to do."""


class DeviceLost(DeviceError):
    """The device failed; only a new process can use it again."""


def out_of_memory(what: str, wanted: int | None, memory: tuple[int, int] | None) -> DeviceMemoryError:
    """`what` needs `wanted` bytes of a device with `memory` = (free, total)."""
    needs = f"{what} needs {byte_size(wanted)} on the device" if wanted is not None else f"{what}: the device is full"
    has = f", {byte_size(memory[0])} of {byte_size(memory[1])} are free" if memory else ""
    return DeviceMemoryError(f"{needs}{has}; use a smaller mesh, another device, or a CPU backend")


def lost(what: str) -> DeviceLost:
    """The error for a device that can't be used any more; `what` is the cause."""
    return DeviceLost(f"the device is lost ({what}); only a new Python process can use it again")


def device_error(
    number: int, text: str, wanted: int | None = None, memory: tuple[int, int] | None = None
) -> BackendError:
    """The error for CUDA's `number` in an open device.

    Parameters
    ----------
    text : str
        The library's message, or the operation that failed.
    wanted, memory : int, (free, total)
        In bytes, if memory ran out.
    """
    text = " ".join(text.split())
    if number == MEMORY:
        return out_of_memory(text, wanted, memory)
    if number in STICKY:
        return lost(f"CUDA error {number}, {STICKY[number]}: {text}")
    return BackendError(f"CUDA error {number}: {text}")


def require_driver() -> None:
    """Raise DeviceMissing if there is no driver. Call it before importing a library that needs the driver."""
    if not has_driver():
        raise DeviceMissing("there is no NVIDIA driver; install it, or use a CPU backend")


def unavailable(number: int, text: str) -> BackendUnavailable:
    """The error for CUDA's `number` while a device is opened."""
    text = " ".join(text.split())
    if number in STICKY:
        return BackendUnavailable(f"{STICKY[number]}: {text}")
    if number == _NO_DEVICE:
        return DeviceMissing("there is no GPU; use a CPU backend")
    if number == MEMORY:
        return BackendUnavailable("the device's memory is full; end the other process that uses it")
    return BackendUnavailable(f"{CLOSED.get(number, 'the device cannot be used')} (CUDA error {number}: {text})")
