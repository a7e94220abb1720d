"""2D potential flow on 8-node quadrilaterals, solved by any of many execution models with one result.

>>> import fem_core as fem
>>> mesh = fem.generate.duct(length=3, nx=6, ny=2)
>>> solution = fem.solve(mesh, backend="numpy", solver="cg")
>>> solution.report.converged
True
"""

import fem_core.support.launch  # noqa: F401  # first, because it decides where the others are searched

# isort: split
from fem_core import assembly, backends, execution, generate, plugins, solvers
from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem
from fem_core.errors import (
    BackendError,
    BackendUnavailable,
    Cancelled,
    FemError,
    MeshError,
    OptionError,
    ProblemError,
    SolveError,
)
from fem_core.io.convert import convert_mesh
from fem_core.io.files import read_mesh, write_mesh
from fem_core.mesh.boundaries import with_boundaries
from fem_core.mesh.geometry import validate_mesh
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.mesh.quality import Quality, element_quality
from fem_core.mesh.repair import repair_mesh
from fem_core.plugins.events import Event
from fem_core.problem import Dirichlet, Fluid, Problem, Robin
from fem_core.results import DerivedFields, Report, SolveResult, StopReason
from fem_core.run.api import apply_bc, assemble_system, compute_derived, compute_sparsity, solve, solve_system
from fem_core.run.opening import list_backends, open_backend
from fem_core.run.session import Session
from fem_core.solution import Solution, read_solution
from fem_core.support.progress import CancelToken
from fem_core.tools.mesh_check import MeshCheck, check_mesh

__version__ = "1.0.0"

#: What semantic versioning covers, beside the names of the packages imported above: see docs/public_names.md.
__all__ = [
    "BackendError",
    "BackendUnavailable",
    "Boundary",
    "CancelToken",
    "Cancelled",
    "DerivedFields",
    "Dirichlet",
    "Event",
    "FemError",
    "Fluid",
    "LinearSystem",
    "Mesh",
    "MeshCheck",
    "MeshError",
    "OptionError",
    "Problem",
    "ProblemError",
    "Quality",
    "Report",
    "Robin",
    "Session",
    "Solution",
    "SolveError",
    "SolveResult",
    "Sparsity",
    "StopReason",
    "apply_bc",
    "assemble_system",
    "assembly",
    "backends",
    "check_mesh",
    "compute_derived",
    "compute_sparsity",
    "convert_mesh",
    "element_quality",
    "execution",
    "generate",
    "list_backends",
    "open_backend",
    "plugins",
    "read_mesh",
    "read_solution",
    "repair_mesh",
    "solve",
    "solve_system",
    "solvers",
    "validate_mesh",
    "with_boundaries",
    "write_mesh",
]
