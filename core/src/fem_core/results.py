"""The results of the solver and of post-processing, and the report of a run."""

import json
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any

import numpy as np

from fem_core.errors import OptionError
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.support.kinds import require, shown
from fem_core.types import Floats

#: Version of the result files; a reader refuses a later version. It stays the same if entries are only added.
RESULT_VERSION = 1

#: The fields of a solution and their units, in the order in which files hold them.
UNITS = {"u": "m2/s", "velocity": "m/s", "speed": "m/s", "pressure": "Pa"}


@dataclass(frozen=True)
class SolverOptions:
    """The solver of the linear system, and its options.

    Parameters
    ----------
    method : str
        Name of a solver (`cg`, `direct`, `mg`, …), or `auto`.
    rtol, atol : float
        Relative and absolute tolerance: iterations stop when ‖r‖ < max(rtol ‖b‖, atol), in the equilibrated system.
    maxiter : int
        Maximum number of iterations.
    monitor : int
        Iterations between evaluations of the true residual.
    extra : mapping
        The method's own options.
    """

    method: str = "cg"
    rtol: float = 1e-8
    atol: float = 0.0
    maxiter: int = 50_000
    monitor: int = 50
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.method, str, "solver must be the name of a solver")
        require(self.extra, Mapping, "solver_options must be a mapping of names to values")
        for name in ("rtol", "atol", "maxiter", "monitor"):
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise OptionError(f"{name} must be a number, not {shown(value)}")
        if not (float(self.maxiter).is_integer() and float(self.monitor).is_integer()):
            raise OptionError(f"maxiter and monitor must be whole numbers, not {self.maxiter!r} and {self.monitor!r}")
        if not (self.rtol >= 0 and self.atol >= 0 and 0 < self.rtol + self.atol < math.inf):
            raise OptionError(
                f"rtol and atol must be >= 0, finite and not both zero, not {self.rtol!r} and {self.atol!r}"
            )
        if self.rtol >= 1:
            raise OptionError(f"rtol must be below 1, not {self.rtol!r}: u = 0 would be accepted as the solution")
        if self.maxiter < 0 or self.monitor < 1:
            raise OptionError(f"maxiter must be >= 0 and monitor >= 1, not {self.maxiter!r} and {self.monitor!r}")


class StopReason(StrEnum):
    """The reason why a solver stopped; unless it is `CONVERGED`, `u` is only a partial result."""

    CONVERGED = "converged"
    MAXITER = "maxiter reached"
    INDEFINITE = "matrix not positive definite (p·Ap <= 0)"
    NOT_FINITE = "residual not finite"
    STAGNATION = "true residual stagnates above the tolerance"


@dataclass(frozen=True, eq=False)
class SolveResult:
    """The potential, and figures of the solve.

    Parameters
    ----------
    u : float64 (n_nodes,)
        Potential, including the lift.
    iterations : int
        Steps taken; 0 for a direct solver.
    relative_residual : float
        ‖b - Ax‖ / ‖b‖ of the equilibrated system, evaluated at the end.
    true_relative_residual : float
        ‖f - Kw‖ / ‖f‖ of the system as given, over the nodes that aren't fixed.
    history : tuple of (iteration, relative residual)
        True residuals of the equilibrated system at the monitor's iterations.
    """

    u: Floats
    method: str
    iterations: int
    stop_reason: StopReason
    relative_residual: float
    true_relative_residual: float
    history: tuple[tuple[int, float], ...] = ()

    @property
    def converged(self) -> bool:
        return self.stop_reason is StopReason.CONVERGED

    def to_host(self) -> "SolveResult":
        return self


@dataclass(frozen=True, eq=False)
class DerivedFields:
    """Post-processed fields, one value per element.

    Parameters
    ----------
    velocity : float64 (n_elements, 2)
        v = -∇u, mean over the 2x2 Gauss points.
    speed : float64 (n_elements,)
        Mean of |∇u| over the same points.
    pressure : float64 (n_elements,)
        p₀ - ½ ρ speed² in Pa.
    """

    velocity: Floats
    speed: Floats
    pressure: Floats

    def to_host(self) -> "DerivedFields":
        return self


@dataclass(frozen=True)
class Report:
    """The report of a run: the provider and the time of each stage, and the convergence.

    Parameters
    ----------
    backend : str
        The names given by the user; with `auto`, the backend that it chose.
    providers, seconds : mapping of stage to name / to seconds
    mesh, solver, solution : mapping
        The objects of the same names in `fem solve --json`.
    conditions : tuple of mapping
        What was solved: see `Problem.conditions_on`.
    shifts : tuple of mapping
        What was subtracted from u for the solve and added again: each `constant`, and the number of its `nodes`.
    history : tuple of (iteration, relative residual)
    warnings, notes : tuple of str
        Messages to the user: possible problems (warnings), and choices such as those of `auto` (notes).
    host_copies : int
        Number of values that were copied to the host, from a device or from another numbering.
    versions, hardware : mapping
    """

    backend: str
    providers: Mapping[str, str]
    seconds: Mapping[str, float]
    mesh: Mapping[str, int]
    solver: Mapping[str, Any]
    solution: Mapping[str, float]
    history: tuple[tuple[int, float], ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    host_copies: int
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    conditions: tuple[Mapping[str, Any], ...] = ()
    shifts: tuple[Mapping[str, Any], ...] = ()

    @property
    def converged(self) -> bool:
        return bool(self.solver["converged"])

    @property
    def iterations(self) -> int:
        return int(self.solver["iterations"])

    def to_dict(self) -> dict[str, Any]:
        """The object that `fem solve --json` prints."""
        return {
            "backend": self.backend,
            "providers": dict(self.providers),
            "mesh": dict(self.mesh),
            "conditions": [dict(one) for one in self.conditions],
            "shifts": [dict(one) for one in self.shifts],
            "solver": dict(self.solver),
            "stages": dict(self.seconds),
            "solution": dict(self.solution),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "host_copies": self.host_copies,
            "versions": dict(self.versions),
            "hardware": dict(self.hardware),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], history: Iterable[tuple[int, float]] = ()) -> "Report":
        """The report from the object of `to_dict`, read from JSON; null becomes NaN.

        Entries that an older version didn't write get their defaults. Raises KeyError if any other entry is missing.
        """
        given: dict[str, Any] = {"history": tuple(history)}
        for one in fields(cls):
            key = "stages" if one.name == "seconds" else one.name
            optional = one.default is not MISSING or one.default_factory is not MISSING
            if one.name in given or (optional and key not in values):
                continue
            value = values[key]
            if one.name in ("solver", "solution"):
                value = {name: math.nan if number is None else number for name, number in value.items()}
            given[one.name] = tuple(value) if isinstance(value, list) else value
        return cls(**given)


@dataclass(frozen=True, eq=False)
class Fields:
    """The fields on a mesh, in the mesh's numbering, and the report of the run: what is written, read and drawn.

    Parameters
    ----------
    u : float64 (n_nodes,)
        Potential; 0 at orphan nodes.
    velocity : float64 (n_elements, 2)
        Mean of -∇u over the 2x2 Gauss points.
    speed : float64 (n_elements,)
        Mean of |∇u| over the same points.
    pressure : float64 (n_elements,)
        In Pa.
    """

    mesh: Mesh
    problem: Problem
    u: Floats
    velocity: Floats
    speed: Floats
    pressure: Floats
    report: Report


def summarise(u: Floats, used: Any, derived: DerivedFields) -> dict[str, float]:
    """Figures of a solution over the nodes in use: potential, speed and pressure."""
    values = u[used]
    _, exponent = math.frexp(float(np.abs(values).max()))  # squares of large values would overflow
    return {
        "u_min": float(values.min()),
        "u_max": float(values.max()),
        "u_mean": float(values.mean()),
        "u_std": math.ldexp(float(np.std(np.ldexp(values, -exponent))), exponent),
        "speed_max": float(derived.speed.max()),
        "pressure_min": float(derived.pressure.min()),
    }


def to_json(value: object, *, indent: int | None = None) -> str:
    """JSON of plain data; NaN and infinities, which JSON doesn't have, become null.

    >>> to_json({"residual": float("nan"), "iterations": 3})
    '{"residual": null, "iterations": 3}'
    """
    return json.dumps(_finite(value), allow_nan=False, default=str, indent=indent, ensure_ascii=False)


def _finite(value: object) -> object:
    match value:
        case float():
            return float(value) if math.isfinite(value) else None
        case np.generic():
            return _finite(value.item())
        case Mapping():
            return {str(key): _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
