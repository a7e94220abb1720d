"""2D potential flow on 8-node quadrilaterals, solved by any of many execution models with one result.

>>> import fem_core as fem
>>> mesh = fem.generate.duct(length=3, nx=6, ny=2)
>>> solution = fem.solve(mesh, backend="numpy", solver="cg")
>>> solution.report.converged
True
"""

from fem_core import execution, generate, solvers
from fem_core.assembly.element import element_derived, element_load, element_stiffness
from fem_core.assembly.sparsity import Sparsity, compute_sparsity
from fem_core.assembly.system import LinearSystem, apply_conditions
from fem_core.backends.batched import BatchedBackend
from fem_core.errors import (
    BackendError,
    BackendUnavailable,
    Cancelled,
    DeviceError,
    DeviceMissing,
    FemError,
    MeshError,
    OptionError,
    ProblemError,
    SolveError,
    WorkerLost,
)
from fem_core.execution.executors import Executor, SerialExecutor
from fem_core.io.files import read_mesh, write_mesh
from fem_core.mesh.boundaries import with_boundaries
from fem_core.mesh.geometry import det_jacobian, validate_mesh
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.mesh.quality import Quality, element_quality
from fem_core.mesh.repair import repair_mesh
from fem_core.plugins.backend import API_VERSION, Backend, BackendInfo, Option
from fem_core.plugins.events import Event
from fem_core.plugins.formats import MeshFormat, ResultWriter
from fem_core.plugins.hookspecs import hookimpl
from fem_core.plugins.registry import REGISTRY
from fem_core.problem import Dirichlet, Fluid, Problem, Robin
from fem_core.results import DerivedFields, Report, SolveResult, SolverOptions, StopReason
from fem_core.run.api import apply_bc, assemble_system, compute_derived, solve, solve_system
from fem_core.run.opening import open_backend
from fem_core.run.session import Session
from fem_core.solution import Solution, read_solution
from fem_core.support.hardware import available_cores, available_memory
from fem_core.support.progress import CancelToken, Progress
from fem_core.tools.mesh_check import MeshCheck, check_mesh

__version__ = "1.0.0"

register_backend = REGISTRY.register_backend
register_plugin = REGISTRY.register_plugin
unregister_plugin = REGISTRY.unregister_plugin
list_backends = REGISTRY.listings

__all__ = [
    "API_VERSION",
    "Backend",
    "BackendError",
    "BackendInfo",
    "BackendUnavailable",
    "BatchedBackend",
    "Boundary",
    "CancelToken",
    "Cancelled",
    "DerivedFields",
    "DeviceError",
    "DeviceMissing",
    "Dirichlet",
    "Event",
    "Executor",
    "FemError",
    "Fluid",
    "LinearSystem",
    "Mesh",
    "MeshCheck",
    "MeshError",
    "MeshFormat",
    "Option",
    "OptionError",
    "Problem",
    "ProblemError",
    "Progress",
    "Quality",
    "Report",
    "ResultWriter",
    "Robin",
    "SerialExecutor",
    "Session",
    "Solution",
    "SolveError",
    "SolveResult",
    "SolverOptions",
    "Sparsity",
    "StopReason",
    "WorkerLost",
    "apply_bc",
    "apply_conditions",
    "assemble_system",
    "available_cores",
    "available_memory",
    "check_mesh",
    "compute_derived",
    "compute_sparsity",
    "det_jacobian",
    "element_derived",
    "element_load",
    "element_quality",
    "element_stiffness",
    "execution",
    "generate",
    "hookimpl",
    "list_backends",
    "open_backend",
    "read_mesh",
    "read_solution",
    "register_backend",
    "register_plugin",
    "repair_mesh",
    "solve",
    "solve_system",
    "solvers",
    "unregister_plugin",
    "validate_mesh",
    "with_boundaries",
    "write_mesh",
]
