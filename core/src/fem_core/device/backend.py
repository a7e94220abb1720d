"""`DeviceBackend`: every stage on a device, through any runtime. Values of other backends are uploaded."""

import weakref
from typing import Any, Literal

import numpy as np

from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import require_bare, require_conditions
from fem_core.device import assembly, cg, conditions, derived, ledger, sparsity
from fem_core.device.device import Device
from fem_core.device.info import ASSEMBLIES
from fem_core.device.mg import DeviceMultigrid
from fem_core.device.runtime import Runtime
from fem_core.device.values import DeviceFields, DevicePattern, DevicePotential, DeviceSystem
from fem_core.errors import OptionError
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend
from fem_core.plugins.hookspecs import hookimpl
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions
from fem_core.solvers.base import refuse_extra
from fem_core.support.last import Last
from fem_core.support.progress import Progress


class DeviceBackend(Backend):
    """All five stages on a device. Mesh, pattern, system and potential stay there from stage to stage.

    Parameters
    ----------
    runtime : Runtime
        Closed together with the backend.
    assembly : "gather" or "coo"
        Whether each matrix entry gathers its terms, or all terms are sorted by their indices, the published way.
    """

    def __init__(self, runtime: Runtime, assembly: Literal["gather", "coo"] = "gather") -> None:
        if assembly not in ASSEMBLIES:
            raise OptionError(f"assembly is {' or '.join(ASSEMBLIES)}, not {assembly!r}")
        self.device = Device(runtime)
        self._coo = assembly == "coo"
        self._foreign: Last[DevicePattern] = Last()
        self._mg = DeviceMultigrid(self.device)

    def open(self) -> None:
        self.device.open()

    def compile(self) -> None:
        with self.device.stage("compile") as runtime:
            runtime.compile()

    def forget(self) -> None:
        """Drop the mesh, another backend's pattern and multigrid's levels."""
        self._foreign.forget()
        self._mg.forget()
        self.device.forget()

    def close(self) -> None:
        self.forget()
        self.device.close()

    @hookimpl
    def fem_sparsity(self, mesh: Mesh, progress: Progress) -> DevicePattern:
        progress.check()
        return sparsity.compute_pattern(self.device, mesh, not self._coo)

    @hookimpl
    def fem_assemble(
        self, mesh: Mesh, problem: Problem, sparsity: Sparsity | DevicePattern, progress: Progress
    ) -> DeviceSystem:
        progress.check()
        progress.remark(f"on {self.device.name}")
        system = assembly.assemble(self.device, mesh, problem, self._pattern(sparsity, mesh), self._coo)
        progress.assembly(mesh.n_elements, mesh.n_elements)
        return system

    @hookimpl
    def fem_apply_bc(self, system: Any, mesh: Mesh, problem: Problem, progress: Progress) -> DeviceSystem:
        progress.check()
        own: Any = self._system(system)
        require_bare(own, mesh)
        return conditions.apply(self.device, own, mesh, problem)

    @hookimpl
    def fem_solve(
        self, system: Any, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> DevicePotential | SolveResult:
        refuse_extra(options.method, options)
        system = self._system(system)
        require_conditions(system)
        progress.remark(f"on {self.device.name}")
        if options.method == "mg":
            return self._mg.solve(system, mesh, problem, options, progress)
        return cg.solve(self.device, system, options, progress)

    @hookimpl
    def fem_compute_derived(self, mesh: Mesh, problem: Problem, result: Any, progress: Progress) -> DeviceFields:
        progress.check()
        if isinstance(result, DevicePotential) and result.device is self.device:
            u = result.u
        else:
            host = result.to_host().u
            with self.device.stage("upload of the potential", host.nbytes) as runtime:
                u = runtime.upload(host)
        fields = derived.derive(self.device, mesh, problem, u)
        progress.derived(mesh.n_elements, mesh.n_elements)
        return fields

    def _pattern(self, pattern: Any, mesh: Mesh) -> DevicePattern:
        """`pattern` on this device. The last pattern of another backend is kept."""
        if isinstance(pattern, DevicePattern) and pattern.device is self.device:
            return pattern
        host: Sparsity = pattern.to_host()
        return self._foreign.get(
            weakref.ref(host), lambda: sparsity.compute_pattern(self.device, mesh, not self._coo, host)
        )

    def _system(self, system: Any) -> DeviceSystem:
        """`system` on this device; that of another backend is uploaded."""
        if isinstance(system, DeviceSystem) and system.device is self.device:
            return system
        host = system.to_host()
        K, N = host.matrix, host.n_nodes
        with self.device.stage("upload of the system", ledger.system_bytes(N, K.nnz)) as runtime:
            indptr, indices = (runtime.upload(np.asarray(part, dtype=np.int32)) for part in (K.indptr, K.indices))
            values, rhs, held = (runtime.upload(part) for part in (K.data, host.rhs, host.fixed))
            lift = None if host.lift is None else runtime.upload(host.lift)
        return DeviceSystem(self.device, N, K.nnz, indptr, indices, values, rhs, host.fixed, held, lift)
