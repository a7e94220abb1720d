"""The boundary value problem: coefficients and conditions on a mesh's named boundaries.

Weak form: find u with u = g on the Dirichlet boundaries such that for all v

    ∫ k ∇u·∇v dΩ + ∫_Robin p u v ds = ∫ s v dΩ + ∫_Robin γ v ds,

that is -∇·(k ∇u) = s inside and k ∂u/∂n + p u = γ on the Robin boundaries.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Literal

import numpy as np

from fem_core.errors import MeshError, ProblemError
from fem_core.mesh.boundaries import half_edges, half_text, lost_text, seam_text, unlisted_edges
from fem_core.mesh.geometry import edge_lengths
from fem_core.mesh.mesh import Mesh
from fem_core.support.kinds import require, shown
from fem_core.support.wording import count, more_faults, name_all, name_some, nearest
from fem_core.types import Array, Floats, Ints, Value

_GUESSED = 5  # names that can't be used, of which a message says more than the name

#: The default of γ at the inlet, in m/s.
INFLOW = 2.5

#: The sizes of coefficients. Beyond them, products and squares of several may not be floating-point numbers.
LEAST, MOST = 1e-50, 1e50

#: If all loads are smaller, their squares are 0.
_VANISHING = 1e-100

#: Added to the diagonal of fixed nodes by `dirichlet="penalty"`, and the largest conductivity that it is used with: the
#: error of fixed values is about the ratio of both.
PENALTY, MOST_WITH_PENALTY = 1e12, 1e10


@dataclass(frozen=True)
class Robin:
    """k ∂u/∂n + p u = γ on a named boundary.

    `p` and `gamma` are constants, arrays with one value per node of the mesh, or functions of the
    coordinates (x, y) of the nodes. Between nodes they are interpolated quadratically along the edge.
    """

    boundary: str
    gamma: Value = 0.0
    p: Value = 0.0


@dataclass(frozen=True)
class Dirichlet:
    """u = value on the nodes of a named boundary; `value` can be what `gamma` can be in `Robin`.

    If two conditions share a node, the later one applies.
    """

    boundary: str
    value: Value = 0.0


@dataclass(frozen=True)
class Fluid:
    """Constants of the pressure p₀ - ½ ρ |v|²: `p0` in Pa, `rho` >= 0 in kg/m³."""

    p0: float = 101328.8281
    rho: float = 1.225

    def __post_init__(self) -> None:
        for name, least in (("p0", -MOST), ("rho", 0.0)):
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not least <= float(value) <= MOST:
                raise ProblemError(
                    f"{name} of the fluid must be a number from {least:g} to {MOST:g}, not {shown(value)}"
                )

    def pressure(self, speed: Floats) -> Floats:
        """p₀ - ½ ρ speed² in Pa."""
        return self.p0 - 0.5 * self.rho * speed * speed


@dataclass(frozen=True)
class Problem:
    """The conditions and coefficients of a problem; it refers to the boundaries of a mesh by name.

    Parameters
    ----------
    conditions : tuple of Robin and Dirichlet
        Boundaries without a condition are insulated (k ∂u/∂n = 0).
    conductivity : float or (n_elements,)
        k > 0, constant or per element.
    source : float, (n_elements,), (n_nodes,) or function of (x, y)
        s; functions are evaluated at the nodes, and nodal values are interpolated.
    dirichlet : "penalty" or "eliminate"
        Method for the fixed nodes: add 1e12 to their diagonal (as the reference does; exact to about
        1e-12 relative to k), or replace their rows and columns by those of the identity.
    fluid : Fluid
        Constants of the pressure.

    Attributes
    ----------
    origin : str
        The file that the problem was read from, for the report; empty if the user gave or changed the problem.
    """

    conditions: tuple[Robin | Dirichlet, ...] = ()
    conductivity: float | Floats = 1.0
    source: Value = 0.0
    dirichlet: Literal["penalty", "eliminate"] = "penalty"
    fluid: Fluid = Fluid()
    origin: str = field(default="", init=False, compare=False)  # `replace` leaves it behind

    def __post_init__(self) -> None:
        if not isinstance(self.dirichlet, str) or self.dirichlet not in ("penalty", "eliminate"):
            raise ProblemError(f"dirichlet must be 'penalty' or 'eliminate', not {shown(self.dirichlet)}")
        require(self.fluid, Fluid, "fluid must be a fem_core.Fluid", ProblemError)
        given: object = self.conditions
        conditions = tuple(given) if isinstance(given, Iterable) else (given,)
        for condition in conditions:
            require(condition, Robin | Dirichlet, "conditions must be Robin or Dirichlet", ProblemError)
            require(condition.boundary, str, "the boundary of a condition must be a name", ProblemError)
        object.__setattr__(self, "conditions", conditions)

    @classmethod
    def potential_flow(
        cls,
        mesh: Mesh,
        *,
        gamma: Value = INFLOW,
        p: Value = 0.0,
        outlet: Value = 0.0,
        conductivity: float | Floats = 1.0,
        source: Value = 0.0,
        dirichlet: Literal["penalty", "eliminate"] = "penalty",
        fluid: Fluid = Fluid(),  # an immutable value
    ) -> "Problem":
        """The default problem: inflow γ at `inlet`, u = 0 at `outlet`, no flow through the walls."""
        conditions = (Robin("inlet", gamma, p), Dirichlet("outlet", outlet))
        return cls(conditions, conductivity, source, dirichlet, fluid).on(mesh)

    def stored_in(self, file: str) -> "Problem":
        """This problem with `file` as its origin."""
        problem = replace(self)
        object.__setattr__(problem, "origin", file)
        return problem

    @property
    def robin(self) -> tuple[Robin, ...]:
        return tuple(c for c in self.conditions if isinstance(c, Robin))

    def on(self, mesh: Mesh) -> "Problem":
        """Check this problem on `mesh`, and return it with the names of boundaries as the mesh writes them.

        A boundary is found by its exact name, or without regard to case if only one boundary then has the name.

        Raises
        ------
        ProblemError
            If a boundary is unknown, lost or empty; if coefficients have a wrong shape or sign, aren't finite, or are
            too large or too small to compute with; or if no condition fixes the level of u in a part of the mesh.
        """
        require(mesh, Mesh, "mesh must be a fem_core.Mesh", MeshError)
        names = boundary_names(mesh, [condition.boundary for condition in self.conditions])
        named = [replace(one, boundary=name) for one, name in zip(self.conditions, names, strict=True)]
        same = named == list(self.conditions)
        problem = self if same else replace(self, conditions=tuple(named)).stored_in(self.origin)
        if faults := idle_conditions(mesh, problem.conditions):
            raise ProblemError(f"{faults[0]}{more_faults(len(faults) - 1)}")
        for _ in problem._loads(mesh):  # each is checked as it is made
            pass
        if (stiffest := float(problem.conductivity_on(mesh).max())) > MOST_WITH_PENALTY and self.dirichlet == "penalty":
            raise ProblemError(
                f"a conductivity of {stiffest:g} is too large for the penalty of {PENALTY:g}: fixed values would not "
                'hold; use --dirichlet eliminate (dirichlet="eliminate")'
            )
        problem._check_level(mesh)
        return problem

    def conductivity_on(self, mesh: Mesh) -> Floats:
        """k of each element, (n_elements,). Raises ProblemError if it isn't positive everywhere."""
        k = _broadcast(self.conductivity, {"element": mesh.n_elements}, "conductivity").copy()
        _refuse_extremes(k, "conductivity", "in element")
        if len(bad := np.flatnonzero(~(k > 0))):
            raise ProblemError(f"conductivity must be positive; it is not positive in {name_some(bad, 'element')}")
        if len(bad := np.flatnonzero(k < LEAST)):
            raise ProblemError(_extreme("conductivity", "small", k[bad[0]], LEAST, name_some(bad, "in element")))
        return k

    def source_on(self, mesh: Mesh) -> Floats | None:
        """s at the nodes of each element, (n_elements, 8); None if there is no source."""
        s = self.source
        if isinstance(s, int | float) and s == 0:
            return None
        if not callable(s) and np.shape(s) == (mesh.n_elements,) != (mesh.n_nodes,):
            values = _broadcast(s, {"element": mesh.n_elements}, "source")
            _refuse_extremes(values, "source", "in element")
            return np.repeat(values[:, None], 8, axis=1)
        nodal = nodal_values(s, mesh, mesh.used_nodes, "source")
        return nodal[mesh.quad8]

    def fixed_on(self, mesh: Mesh) -> tuple[Ints, Floats]:
        """The fixed nodes (sorted; orphan nodes included) and the lift ĝ, zero elsewhere: (m,), (n_nodes,)."""
        fixed = np.zeros(mesh.n_nodes, dtype=bool)
        g = np.zeros(mesh.n_nodes)
        fixed[mesh.orphan_nodes] = True
        for condition in self.conditions:
            if isinstance(condition, Dirichlet):
                nodes = boundary_nodes(mesh, condition)
                fixed[nodes] = True
                g[nodes] = nodal_values(condition.value, mesh, nodes, f"value on {condition.boundary!r}")[nodes]
        g[mesh.orphan_nodes] = 0
        return np.flatnonzero(fixed).astype(np.int32), g

    def doubts_on(self, mesh: Mesh) -> Iterator[str]:
        """What may not be meant on `mesh`: names in another case, inflow where u is fixed, loads of almost 0."""
        largest = 0.0
        for load in self._loads(mesh):
            if (largest := max(largest, float(np.abs(load).max()))) >= _VANISHING:
                break
        if 0 < largest < _VANISHING:
            yield (
                f"gamma, source and fixed values are at most {largest:g}: their squares vanish, and the solver may see "
                "no load at all; choose other units"
            )
        names = {condition.boundary: None for condition in self.conditions}
        alike = _by_any_case(one for one in mesh.boundaries if one not in names)
        for name in names:
            for other in alike.get(name.casefold(), ()):
                yield f"the mesh has a boundary {other!r}, too, without a condition; {name!r} differs in case only"
        fixed = np.zeros(mesh.n_nodes, dtype=bool)
        fixed[self.fixed_on(mesh)[0]] = True
        for name in dict.fromkeys(condition.boundary for condition in self.robin):
            edges = mesh.boundaries[name].edges
            if number := int(np.count_nonzero(fixed[edges].all(axis=1))):
                yield (
                    f"u is fixed at all nodes of {number:,} of {count(len(edges), 'edge')} of the boundary {name!r}: "
                    "its inflow has no effect there"
                )

    def _loads(self, mesh: Mesh) -> Iterator[Floats]:
        """g, each γ and s, if there is a source. Raises ProblemError if one of them can't be computed with."""
        yield self.fixed_on(mesh)[1]
        for condition in self.robin:
            nodes = boundary_nodes(mesh, condition)
            yield nodal_values(condition.gamma, mesh, nodes, f"gamma on {condition.boundary!r}")[nodes]
        if (source := self.source_on(mesh)) is not None:
            yield source

    def conditions_on(self, mesh: Mesh) -> tuple[dict[str, Any], ...]:
        """Each condition as plain data: boundary, kind, value, length (m), number of nodes, and origin of the name.

        `value` is γ or the fixed u; Robin conditions have `p` too. A value that varies is given as [smallest, largest].
        """
        found = []
        for condition in self.conditions:
            boundary, nodes = mesh.boundaries[condition.boundary], boundary_nodes(mesh, condition)

            def value(given: Value, what: str, nodes: Ints = nodes) -> float | list[float]:
                values = nodal_values(given, mesh, nodes, what)[nodes]
                low, high = float(values.min()), float(values.max())
                return low if low == high else [low, high]

            if isinstance(condition, Robin):
                values = {"value": value(condition.gamma, "gamma"), "p": value(condition.p, "p")}
            else:
                values = {"value": value(condition.value, "value")}
            found.append(
                {
                    "boundary": condition.boundary,
                    "kind": type(condition).__name__,
                    **values,
                    "length": float(edge_lengths(mesh, boundary.edges).sum()),
                    "nodes": len(nodes),
                    "origin": "position" if condition.boundary in mesh.by_position else "mesh",
                }
            )
        return tuple(found)

    def _check_level(self, mesh: Mesh) -> None:
        """Each connected part needs a Dirichlet node or a Robin edge with p > 0."""
        number, of_element = mesh.components
        held = np.zeros(mesh.n_nodes, dtype=bool)
        for condition in self.conditions:
            nodes = boundary_nodes(mesh, condition)
            if isinstance(condition, Dirichlet):
                held[nodes] = True
            else:
                held[nodes] |= nodal_values(condition.p, mesh, nodes, f"p on {condition.boundary!r}")[nodes] > 0
        parts = np.unique(of_element[held[mesh.quad8].any(axis=1)])
        if len(parts) < number:
            lost = np.setdiff1d(np.arange(number), parts)
            elements = np.flatnonzero(np.isin(of_element, lost))
            where = f"{len(lost)} of {number} connected parts of the mesh" if number > 1 else "the mesh"
            way = seam_text(mesh) or f"fix u on a boundary of {'each part' if number > 1 else 'it'}"
            raise ProblemError(
                f"{mesh.source}: no condition fixes the level of u in {where} ({name_some(elements, 'element')}); {way}"
            )


def origin_notes(problem: Problem) -> tuple[str, ...]:
    """The note that a problem is one that is stored in a file; none if it is given by the user."""
    return (f"solves the problem that is stored in {problem.origin}",) if problem.origin else ()


def condition_text(condition: Mapping[str, Any]) -> str:
    """An entry of `Problem.conditions_on` as text."""

    def text(value: float | list[float]) -> str:
        return " to ".join(f"{one:g}" for one in np.atleast_1d(value))

    value, p = text(condition["value"]), condition.get("p", 0.0)
    if condition["kind"] == "Dirichlet":
        what, size = f"u = {value} m²/s", count(condition["nodes"], "node")
    else:
        size = f"{condition['length']:.6g} m"
        what = f"inflow γ = {value} m/s" if p == 0 else f"k ∂u/∂n + p u = γ, γ = {value} m/s, p = {text(p)} 1/s"
    where = " (by position)" if condition["origin"] == "position" else ""
    return f"{condition['boundary']}{where}: {what} on {size}"


def nodal_values(value: Value, mesh: Mesh, nodes: Ints, what: str) -> Floats:
    """`value` as an array over all nodes, (n_nodes,). At `nodes`, a function is evaluated and values are checked."""
    if callable(value):
        result = np.zeros(mesh.n_nodes)
        try:
            result[nodes] = value(mesh.x[nodes], mesh.y[nodes])
        except Exception as error:
            raise ProblemError(
                f"{what}: the function failed on arrays of {count(len(nodes), 'coordinate')}: {error!r}"
            ) from error
    else:
        result = _broadcast(value, {"node": mesh.n_nodes}, what)
    _refuse_extremes(result[nodes], what, "at node", nodes)
    return result


def _broadcast(value: object, accepted: dict[str, int], what: str) -> Floats:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{what} must be a number or an array of numbers, not {shown(value)}") from error
    for length in accepted.values():
        if array.shape in ((), (length,)):
            return np.broadcast_to(array, (length,))  # no copy: many conditions have one number for all nodes
    wanted = " or ".join(f"one value per {name} ({length})" for name, length in accepted.items())
    raise ProblemError(f"{what} must be a number or have {wanted}; its shape is {array.shape}")


def _refuse_extremes(values: Floats, what: str, where: str, numbers: Ints | None = None) -> None:
    """Raises ProblemError, with the places, if values are not finite or too large to compute with."""
    if not len(bad := np.flatnonzero(~(np.abs(values) <= MOST))):
        return
    infinite = bad[~np.isfinite(values[bad])]
    first = infinite if len(infinite) else bad
    places = name_some(first if numbers is None else numbers[first], where)
    if len(infinite):
        raise ProblemError(f"{what} is not finite {places}")
    raise ProblemError(_extreme(what, "large", values[first[0]], MOST, places))


def _extreme(what: str, size: str, value: float, limit: float, places: str) -> str:
    return f"{what} is too {size} {places}: {value:g}, and the limit is {limit:g}; choose other units"


def boundary_names(mesh: Mesh, wanted: Sequence[str]) -> list[str]:
    """The names in `mesh` for the names in conditions: the same name, or the only name that differs just in case.

    Raises ProblemError for a name that the mesh doesn't have or has lost, or that fits two boundaries.
    """
    found, missing, lost = [], [], []
    alike = _by_any_case((*mesh.boundaries, *mesh.lost))
    for name in wanted:
        same = alike.get(name.casefold(), [])
        best = name if name in same else same[0] if len(same) == 1 else None
        if best is None and same:
            raise ProblemError(f"{mesh.source}: the boundary {name!r} could be {name_all(same, ' or ')}; rename one")
        if best is None:
            missing.append(name)
        elif best not in mesh.boundaries:
            lost.append(f"the boundary {best!r} of the file can't be used: {mesh.lost[best]}")
        else:
            found.append(best)
    if lost:
        raise ProblemError(f"{mesh.source}: {'; '.join(lost[:_GUESSED])}")
    if missing:
        named = {name.casefold(): name for name, one in mesh.boundaries.items() if len(one.nodes)}
        none = "none" if mesh.boundaries else "none: call fem_core.with_boundaries(mesh)"
        known = f"boundaries: {name_all(named.values()) or none}"
        near = [one for name in missing[:_GUESSED] if (one := nearest(name.casefold(), named))]
        meant = f" (did you mean {' and '.join(repr(named[one]) for one in dict.fromkeys(near))}?)" if near else ""
        way = ""
        if mesh.boundaries and set(missing) <= {"inlet", "outlet"}:
            ends, them = " and the ".join(missing), "it" if len(missing) == 1 else "them"
            way = f"; name the {ends} in the mesh, or find {them} by position: --by-position (by_position=True)"
        gone = f"; {text}" if (text := lost_text(mesh)) else ""
        raise ProblemError(
            f"{mesh.source}: there is no boundary {name_all(missing, ' and no ')}{meant}; {known}{gone}{way}"
        )
    return found


def _by_any_case(names: Iterable[str]) -> dict[str, list[str]]:
    """The names that are the same except for case, by this common spelling."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.casefold(), []).append(name)
    return alike


def boundary_nodes(mesh: Mesh, condition: Robin | Dirichlet) -> Array:
    """Nodes of the condition's boundary. Raises ProblemError if it doesn't exist or has no edges or nodes."""
    name = condition.boundary
    if name not in mesh.boundaries:
        (name,) = boundary_names(mesh, [name])
    boundary = mesh.boundaries[name]
    found = np.unique(boundary.edges) if isinstance(condition, Robin) else boundary.nodes
    if len(found):
        return found
    lacks = "edges for a Robin condition" if isinstance(condition, Robin) else "nodes to fix"
    if name in mesh.by_position:
        way = "name the boundaries in the mesh, or increase the boundary tolerance"
    elif len(edges := unlisted_edges(mesh, name)):
        way = f"its nodes are those of {count(len(edges), 'edge')}; list them, or let fem check --fix add them"
    elif len(half := half_edges(mesh, name)):
        way = half_text(mesh, name, half)
    elif len(boundary.nodes):
        way = "its nodes complete no exterior edge; add the other nodes of each edge to it"
    else:
        way = "it is empty; add its edges and nodes in the mesh"
    raise ProblemError(f"{mesh.source}: boundary {name!r} has no {lacks}; {way}")


def idle_conditions(mesh: Mesh, conditions: Iterable[Robin | Dirichlet]) -> list[ProblemError]:
    """Why conditions have nothing to act on, one error for each that has nothing."""
    faults = []
    for condition in conditions:
        try:
            boundary_nodes(mesh, condition)
        except ProblemError as error:
            faults.append(error)
    return faults
