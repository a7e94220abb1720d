"""Check a mesh without solving it, also a mesh that validation refuses."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from fem_core.assembly.cost import Cost, work_on
from fem_core.backends.default import DefaultBackend
from fem_core.errors import MeshError, ProblemError
from fem_core.io.files import ReadOptions, completed, read_problem, unvalidated
from fem_core.mesh import quad8 as q8
from fem_core.mesh.boundaries import complete, corner_doubts, mendable_doubts, mesh_doubts, mesh_notes
from fem_core.mesh.geometry import (
    Fault,
    det_jacobian,
    edge_lengths,
    edges_among,
    mesh_faults,
    usable_part,
    validate_mesh,
)
from fem_core.mesh.mesh import SAME_PLACE, Mesh
from fem_core.mesh.quality import LIMITS, Quality, element_quality
from fem_core.mesh.repair import repair_mesh, with_slits
from fem_core.plugins.registry import REGISTRY
from fem_core.problem import INFLOW, Dirichlet, Problem, Robin, boundary_names, idle_conditions, origin_notes
from fem_core.solvers.auto import choose
from fem_core.support.hardware import available_memory
from fem_core.support.wording import byte_size, count, name_some, verb
from fem_core.types import Floats, Ints

_LISTED = 1000  # most elements or nodes of a fault in JSON
_DEFAULT = Problem((Robin("inlet", INFLOW), Dirichlet("outlet")))
_NO_OPTIONS: ReadOptions = {}


@dataclass(frozen=True)
class BoundaryFound:
    """A boundary: edges, nodes, length in metres, smallest and largest x and y, and the origin of its name."""

    name: str
    named_by: str
    edges: int
    nodes: int
    length: float
    x: tuple[float, float] | None
    y: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class MeshCheck:
    """The result of `check_mesh`.

    Parameters
    ----------
    source : str
    mesh : Mesh
        The mesh as it is solved: valid, with its boundaries. If it has faults, only the elements that can be checked.
    numbers : int32 (mesh.n_elements,)
        The numbers of its elements in the checked mesh.
    nodes, elements, orphan_nodes : int
        Counts of the checked mesh.
    memory : int or None
        Available memory in bytes.
    faults : tuple of Fault
        The reasons why the mesh can't be solved; empty if it can.
    warnings : tuple of str
    mending : tuple of str
        The changes that `repair_mesh` would make; empty if the mesh could still not be solved after them.
    boundaries, quality
        Empty if no element can be checked; then `areas` is empty too.
    areas : float64 (mesh.n_elements,)
        The areas of the elements, in m².
    costs : mapping
        The cost of a solve, by the name of the solver, if the solver can estimate it; empty if there are faults.
    conditions : tuple of mapping
        The conditions of the problem: see `Problem.conditions_on`; empty if there are faults.
    notes : tuple of str
        Remarks of the reader, for example on parts of the file that it left aside.
    """

    source: str
    mesh: Mesh
    numbers: Ints
    nodes: int
    elements: int
    orphan_nodes: int
    memory: int | None
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]
    mending: tuple[str, ...]
    boundaries: tuple[BoundaryFound, ...] = ()
    quality: Quality = field(default_factory=lambda: Quality(*np.empty((3, 0))))
    areas: Floats = field(default_factory=lambda: np.empty(0))
    costs: Mapping[str, Cost] = field(default_factory=dict)
    conditions: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def solvable(self) -> bool:
        return not self.faults

    @property
    def solver(self) -> str | None:
        """The solver that `auto` chooses. If it needs more memory than is available, the fastest solver that fits."""
        able = {name: cost for name, cost in self.costs.items() if self.fits(name)}
        if self.chosen in able:
            return self.chosen
        return min(able, key=lambda name: able[name].seconds, default=None)

    @property
    def chosen(self) -> str:
        """The solver that `auto` chooses."""
        return choose(self.nodes, ())[0]

    def fits(self, solver: str) -> bool:
        """Whether the memory is enough for a solver."""
        return self.memory is None or self.costs[solver].memory <= self.memory

    def components(self) -> list[tuple[int, int]]:
        """The number of elements and the first element of each connected part, the largest part first."""
        if not self.mesh.n_elements:
            return []
        _, first, count = np.unique(self.mesh.components[1], return_index=True, return_counts=True)
        order = np.argsort(-count, kind="stable")
        return [(int(count[i]), int(self.numbers[first[i]])) for i in order]

    def worst(self, measure: str, number: int = 5) -> list[tuple[int, float, float, float]]:
        """The elements with the worst `jacobian`, `aspect` or `skew`: number, value, x and y of the middle."""
        found = []
        for element in self.quality.worst(measure, number):
            corners = self.mesh.quad8[element, :4]
            x, y = self.mesh.x[corners].mean(), self.mesh.y[corners].mean()
            value = getattr(self.quality, measure)[element]
            found.append((int(self.numbers[element]), float(value), float(x), float(y)))
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain data, as `fem check --json` prints it."""
        mesh, used = self.mesh, self.mesh.used_nodes
        box = [[float(a[used].min()), float(a[used].max())] for a in (mesh.x, mesh.y)] if len(used) else [None, None]
        return {
            "source": self.source,
            "solvable": self.solvable,
            "mesh": {
                "nodes": self.nodes,
                "elements": self.elements,
                "orphan_nodes": self.orphan_nodes,
                "x": box[0],
                "y": box[1],
                "area": float(self.areas.sum()),
            },
            "components": [{"elements": n, "first_element": first} for n, first in self.components()],
            "boundaries": [asdict(boundary) for boundary in self.boundaries],
            "quality": {measure: self._measure(measure) for measure in LIMITS} if mesh.n_elements else {},
            "costs": {name: {**asdict(cost), "fits": self.fits(name)} for name, cost in self.costs.items()},
            "memory_available": self.memory,
            "solver": self.solver,
            "conditions": [dict(one) for one in self.conditions],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "faults": [
                {
                    "text": fault.text,
                    "elements": fault.elements[:_LISTED].tolist(),
                    "nodes": fault.nodes[:_LISTED].tolist(),
                    "n_elements": len(fault.elements),
                    "n_nodes": len(fault.nodes),
                }
                for fault in self.faults
            ],
            "mending": list(self.mending),
        }

    def _measure(self, measure: str) -> dict[str, Any]:
        values = getattr(self.quality, measure)
        worst = [dict(zip(("element", "value", "x", "y"), one, strict=True)) for one in self.worst(measure)]
        return {
            "worst": worst[0]["value"],
            "median": float(np.median(values)),
            "limit": LIMITS[measure],
            "poor": int(np.count_nonzero(self.quality.poor(measure))),
            "elements": worst,
        }


def check_mesh(
    mesh: Mesh | str | Path, *, merge_tolerance: float = SAME_PLACE, **options: Unpack[ReadOptions]
) -> MeshCheck:
    """Check a mesh or a mesh file without solving it. Faults are collected, not raised.

    `merge_tolerance` is that of `repair_mesh`; `options` are those of `ReadOptions`.

    Raises MeshError if a file can't be read as a mesh at all.

    >>> import fem_core as fem
    >>> check = fem.check_mesh(fem.generate.duct(length=3, nx=6, ny=2))
    >>> check.solvable, sorted(check.costs), [(one.name, one.edges) for one in check.boundaries]
    (True, ['cg', 'direct', 'mg'], [('inlet', 2), ('outlet', 2), ('walls', 12)])
    """
    given = with_slits(unvalidated(mesh, options), options.get("slits"))
    problem = (None if isinstance(mesh, Mesh) else read_problem(mesh)) or _DEFAULT
    left = partial(repair_faults, problem=problem, options=options)
    faults: list[Fault] = []
    try:
        part, numbers = validate_mesh(given), np.arange(given.n_elements, dtype=np.int32)
    except MeshError:
        faults += mesh_faults(given)
        part, numbers = usable_part(given, faults)
    used = np.zeros(given.n_nodes, dtype=bool)
    used[_existing(given)] = True
    memory = available_memory()
    found = partial(
        MeshCheck, source=given.source, numbers=numbers, nodes=given.n_nodes, elements=given.n_elements,
        orphan_nodes=given.n_nodes - int(np.count_nonzero(used)), memory=memory,
    )  # fmt: skip
    if not part.n_elements:
        mending = _mending(given, merge_tolerance, left)
        return found(mesh=part, faults=tuple(faults), warnings=given.warnings, mending=mending)
    part = complete(part, options.get("boundary_tolerance", SAME_PLACE), options.get("by_position", False))
    faults += _problem_faults(part, problem, sound=not faults)
    mending = _mending(given, merge_tolerance, left) if faults else ()
    problem = problem if faults else problem.on(part)
    costs = {} if faults else _costs(part, problem)
    if costs and memory is not None and (least := min(cost.memory for cost in costs.values())) > memory:
        text = f"a solve needs {byte_size(least)} of memory, but {byte_size(memory)} are available"
        faults.append(Fault(f"{text}; use a coarser mesh or a machine with more memory"))
    doubts = () if faults else (*corner_doubts(part), *problem.doubts_on(part))
    quality = element_quality(part)
    return found(
        mesh=part,
        faults=tuple(faults),
        warnings=(*part.warnings, *_warnings(part, numbers, problem, quality), *doubts),
        mending=mending,
        boundaries=tuple(_boundaries(part, given)),
        quality=quality,
        areas=np.abs(det_jacobian(part)[:, :9]) @ q8.WEIGHTS_3X3,
        costs=costs,
        conditions=() if faults else problem.conditions_on(part),
        notes=(*mesh_notes(part), *origin_notes(problem)),
    )


def _existing(mesh: Mesh) -> Ints:
    """The nodes of the elements, without those that don't exist."""
    nodes = mesh.quad8.ravel()
    return nodes[(nodes >= 0) & (nodes < mesh.n_nodes)]


def _problem_faults(mesh: Mesh, problem: Problem, sound: bool) -> list[Fault]:
    """Why `problem` can't be solved on `mesh`; of a mesh that isn't `sound`, only what its boundaries tell."""
    try:
        boundary_names(mesh, [one.boundary for one in problem.conditions])
        faults = idle_conditions(mesh, problem.conditions)
        if sound and not faults:
            problem.on(mesh)
    except ProblemError as error:
        faults = [error]
    return [Fault(str(error).removeprefix(f"{mesh.source}: ")) for error in faults]


def solve_faults(mesh: Mesh, problem: Problem | None = None, options: ReadOptions = _NO_OPTIONS) -> list[Fault]:
    """Why a problem can't be solved on a mesh, with any memory: faults of the mesh, or else of the problem."""
    faults = list(mesh_faults(mesh))
    return faults or _problem_faults(completed(mesh, options), problem or _DEFAULT, sound=True)


def repair_faults(mesh: Mesh, problem: Problem | None = None, options: ReadOptions = _NO_OPTIONS) -> list[Fault]:
    """Why a repaired mesh isn't accepted: its faults, or else the warnings that a repair should have removed."""
    problem = problem or _DEFAULT
    names = [one.boundary for one in problem.conditions]
    return solve_faults(mesh, problem, options) or [
        Fault(text) for text in mendable_doubts(completed(mesh, options), names)
    ]


def _mending(mesh: Mesh, merge_tolerance: float, faults_of: Callable[[Mesh], list[Fault]]) -> tuple[str, ...]:
    try:
        repaired, done = repair_mesh(mesh, merge_tolerance)
    except MeshError:
        return ()
    return () if faults_of(repaired) else tuple(done)


def _costs(mesh: Mesh, problem: Problem) -> dict[str, Cost]:
    """The cost of each solver that can estimate it."""
    solvers = DefaultBackend(REGISTRY.extensions("fem_linear_solvers")).solvers
    work = work_on(mesh, problem.fixed_on(mesh)[0])
    return {name: solver.cost(work) for name, solver in solvers.items() if hasattr(solver, "cost")}


def _boundaries(mesh: Mesh, given: Mesh) -> Iterator[BoundaryFound]:
    for name, boundary in mesh.boundaries.items():
        nodes, edges = boundary.nodes, boundary.edges
        box = [(float(a[nodes].min()), float(a[nodes].max())) if len(nodes) else None for a in (mesh.x, mesh.y)]
        named_by = "the mesh" if name in given.boundaries else "position" if mesh.by_position else "fem-core"
        length = float(edge_lengths(mesh, edges).sum())
        yield BoundaryFound(name, named_by, len(edges), len(nodes), length, *box)


def _warnings(mesh: Mesh, numbers: Ints, problem: Problem, quality: Quality) -> Iterator[str]:
    """Warnings to a user who solves on `mesh`, in addition to the mesh's own warnings."""
    exterior = mesh.matched_edges.exterior
    named = np.concatenate([exterior[:0], *(boundary.edges for boundary in mesh.boundaries.values())])
    if len(bare := exterior[~edges_among(exterior, named)]):
        number = count(len(bare), "exterior edge", "are")
        yield f"{number} in no boundary, such as {tuple(bare[0].tolist())}: no flow passes through"
    for name in {one.boundary: None for one in problem.conditions if one.boundary in mesh.boundaries}:
        boundary = mesh.boundaries[name]
        if name in mesh.by_position and len(loose := np.setdiff1d(boundary.nodes, boundary.edges)):
            yield (
                f"{name_some(loose, 'node')} of the {name} {verb(len(loose), 'are')} on none of its edges: u is fixed "
                f"at a single point there, and the flow is singular; name the {name} in the mesh, or increase the "
                "boundary tolerance"
            )
    yield from mesh_doubts(mesh, [one.boundary for one in problem.conditions])
    suspect = np.flatnonzero(quality.jacobian <= 0)
    folded = numbers[suspect[(det_jacobian(replace(mesh, quad8=mesh.quad8[suspect])) > 0).all(axis=1)]]
    if len(folded):
        which = name_some(folded, "element", "are")
        yield f"{which} folded at a corner but not at a Gauss point: a mid-side node is far from the middle of its side"
    poor = np.logical_or.reduce([quality.poor(measure) for measure in LIMITS])
    if n := int(np.count_nonzero(poor)):
        yield (
            f"{n} of {count(len(poor), 'element')} {verb(n, 'are')} poor: {name_some(numbers[poor])}; "
            "cg takes longer and gradients are less accurate there"
        )
