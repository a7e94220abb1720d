"""The results that the stages pass on without a copy to the host."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem, csr
from fem_core.device.device import Device
from fem_core.results import DerivedFields, SolveResult
from fem_core.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class DevicePattern:
    """The CSR pattern, and where the entries of the element matrices go.

    Parameters
    ----------
    device : Device
    n_nodes, n_elements, nnz : int
    quad8 : i4 (8 M)
    indptr, indices : i4 (N + 1), (nnz)
    start, place : i4 (N + 1), (8 M)
        The places of each node, ascending.
    source_start, source : i4 (nnz + 1), (64 M), or None
        The terms of each entry in `Ke`; not needed by `assembly=coo`.
    """

    device: Device
    n_nodes: int
    n_elements: int
    nnz: int
    quad8: Any
    indptr: Any
    indices: Any
    start: Any
    place: Any
    source_start: Any = None
    source: Any = None

    def to_host(self) -> Sparsity:
        return self._host

    @cached_property
    def _host(self) -> Sparsity:
        M = self.n_elements
        with self.device.stage("compute_sparsity (to_host)", 256 * M) as runtime:
            slots = runtime.empty(64 * M, np.int32)
            runtime.launch("find_slots", 64 * M, self.quad8, self.indptr, self.indices, slots)
            indptr, indices, places = map(runtime.download, (self.indptr, self.indices, slots))
        return Sparsity(indptr, indices, places.reshape(M, 8, 8))


@dataclass(frozen=True, eq=False)
class DeviceSystem:
    """As `LinearSystem`.

    Parameters
    ----------
    device : Device
    n_nodes, nnz : int
    indptr, indices, values : i4, i4, f8
    rhs : f8 (N)
    fixed : int32 (m,)
        On the host; `held` is the same on the device.
    lift : f8 (N) or None
    """

    device: Device
    n_nodes: int
    nnz: int
    indptr: Any
    indices: Any
    values: Any
    rhs: Any
    fixed: Ints
    held: Any = None
    lift: Any = None

    def to_host(self) -> LinearSystem:
        indptr, indices, values, rhs = self.device.download(self.indptr, self.indices, self.values, self.rhs)
        lift = None if self.lift is None else self.device.download(self.lift)[0]
        return LinearSystem(csr(indptr, indices, values), rhs, self.fixed, lift)


@dataclass(frozen=True, eq=False)
class DevicePotential:
    """As `SolveResult`: u is on the device, the rest is in `found`, whose own u is empty."""

    device: Device
    u: Any
    found: SolveResult

    def to_host(self) -> SolveResult:
        return self._host

    @cached_property
    def _host(self) -> SolveResult:
        return replace(self.found, u=self.device.download(self.u)[0])


@dataclass(frozen=True, eq=False)
class DeviceFields:
    """As `DerivedFields`: velocity f8 (2 M), speed and pressure f8 (M)."""

    device: Device
    velocity: Any
    speed: Any
    pressure: Any

    def to_host(self) -> DerivedFields:
        velocity, speed, pressure = self.device.download(self.velocity, self.speed, self.pressure)
        return DerivedFields(velocity.reshape(-1, 2), speed, pressure)


#: The u of `DevicePotential.found`.
NO_VALUES: Floats = np.empty(0)
