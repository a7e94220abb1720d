"""An open device: its runtime, the mesh that is kept on it, and the checks around every stage."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fem_core.assembly.sparsity import require_places
from fem_core.device import ledger
from fem_core.device.errors import DeviceLost
from fem_core.device.ledger import Ledger
from fem_core.device.runtime import CHUNK, Runtime
from fem_core.errors import BackendError
from fem_core.mesh.mesh import Mesh
from fem_core.support.last import Last
from fem_core.types import Array


@dataclass(frozen=True, eq=False)
class DeviceMesh:
    """Coordinates and connectivity on the device."""

    x: Any
    y: Any
    quad8: Any


class Device:
    """A runtime with its ledger. After an error that the device doesn't survive, every stage raises DeviceLost.

    Parameters
    ----------
    runtime : Runtime
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.ledger = Ledger(runtime)
        self.opened = False
        self.name = ""
        self._lost: str | None = None
        self._mesh: Last[DeviceMesh] = Last()

    def open(self) -> None:
        """Raises BackendUnavailable with the reason, or DeviceLost."""
        self._refuse_lost()
        with self._watched():
            self.runtime.open()
            self.name = self.runtime.describe()["name"]
        self.opened = True

    def forget(self) -> None:
        """Drop the mesh."""
        self._mesh.forget()

    def close(self) -> None:
        """Give all memory back."""
        self.opened = False
        self.forget()
        self.runtime.close()

    @contextmanager
    def stage(self, name: str, wanted: int = 0) -> Iterator[Runtime]:
        """Work that needs `wanted` more bytes. The block ends when the device has done it, so its time is complete."""
        self._refuse_lost()
        if not self.opened:
            raise BackendError(
                "the session is closed, and its device memory is freed; call to_host() before closing it"
            )
        with self._watched():
            if wanted:
                self.ledger.require(name, wanted)
            yield self.runtime
            self.runtime.synchronize()

    def _refuse_lost(self) -> None:
        if self._lost is not None:
            raise DeviceLost(self._lost)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except DeviceLost as error:
            self._lost = str(error)
            self._mesh.forget()
            raise

    def download(self, *arrays: Any) -> list[Array]:
        """The arrays on the host."""
        with self.stage("download") as runtime:
            return [runtime.download(array) for array in arrays]

    def mesh(self, mesh: Mesh) -> DeviceMesh:
        """The mesh on the device. The last mesh is kept."""

        def upload() -> DeviceMesh:
            require_places(mesh.n_elements, "elements", mesh.source, 64)
            with self.stage("upload of the mesh", ledger.mesh_bytes(mesh.n_nodes, mesh.n_elements)) as runtime:
                return DeviceMesh(*(runtime.upload(array) for array in (mesh.x, mesh.y, mesh.quad8)))

        return self._mesh.get(weakref.ref(mesh), upload)

    def dot(self, n: int, a: Any, b: Any) -> float:
        """a·b, always summed in the same order."""
        chunks = -(-n // CHUNK)
        sums = self.runtime.empty(chunks, np.float64)
        self.runtime.launch("dot_chunks", chunks, n, a, b, sums)
        return float(self.runtime.download(sums).sum())

    def norm(self, n: int, a: Any) -> float:
        """‖a‖."""
        return float(np.sqrt(self.dot(n, a, a)))
