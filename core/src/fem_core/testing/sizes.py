"""The named checks of sizes, of the order of sums, and of a backend's options."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fem_core import generate
from fem_core.errors import BackendUnavailable
from fem_core.mesh.geometry import validate_mesh
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.plugins.backend import Option
from fem_core.plugins.stages import COMPUTE_SPARSITY
from fem_core.problem import Dirichlet, Problem, Robin
from fem_core.run.session import Session
from fem_core.support.hardware import available_cores
from fem_core.testing.checks import NotApplicable, check
from fem_core.testing.compare import Stages, assert_pattern, assert_stages, stages_of
from fem_core.testing.runs import assert_solution
from fem_core.testing.strategies import Case, many_elements, renumbered, turned, wave, with_orphans
from fem_core.testing.target import Target

#: Numbers of elements that a batch, block or chunk may divide, and their neighbours.
_SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 255, 256, 257, 500, 511, 512, 513,
          1000, 1024, 1025, 2048, 4096, 8192, 32768)  # fmt: skip

#: Numbers of nodes that a chunk of a vector may divide.
_NODES = (128, 256, 1024, 4096, 8192)

#: More elements than this are numbered so badly that a sum meets its terms in any order.
_MANY = 21_000


@check("sizes")
def check_sizes(target: Target) -> None:
    """Every stage is right for numbers of elements and nodes that a batch or chunk divides, and near them."""
    largest = target.most(_SIZES[-1])
    whole = generate.duct(length=3.0, nx=1 + largest // 64, ny=64)
    for n in (n for n in _SIZES if n <= largest):
        assert_stages(target.session, _first_elements(whole, n, whole.n_nodes if n == largest else 0))
    for nodes in _NODES:
        if (n := nodes // 4) <= largest:
            assert_stages(target.session, _first_elements(whole, n, nodes))


def _first_elements(mesh: Mesh, n: int, nodes: int) -> Case:
    """The first n elements, with orphan nodes so that there are at least so many `nodes` in all."""
    used, quad8 = np.unique(mesh.quad8[:n], return_inverse=True)
    part = Mesh(mesh.x[used], mesh.y[used], quad8.reshape(n, 8).astype(np.int32), source=f"{n} elements")
    part = with_orphans(part, max(0, nodes - len(used)), np.random.default_rng(n))
    edges = part.exterior_edges
    part = validate_mesh(
        replace(part, boundaries={"a": Boundary.from_edges(edges[::2]), "b": Boundary.from_edges(edges[1::2])})
    )
    k = 1 + np.random.default_rng(n).random(n)
    return Case(part, Problem((Robin("a", wave, 0.5), Robin("b", 1.0), Dirichlet("b", 3.0)), k, wave))


@check("many_elements")
def check_many_elements(target: Target) -> None:
    """On 39,000 elements and more, every stage is right: no batch, block or chunk is lost or misplaced."""
    sizes = [39_000, 600_000] if target.thorough else [39_000]
    for elements in sorted({target.most(n) for n in sizes}):
        case = many_elements(elements)
        stages_of(target.session, case)  # from the second use of a pattern on, the way may be another
        assert_stages(target.session, case)


#: Options that `determinism` varies.
_VARIED = ("batch_size", "workers", "threads")


@check("determinism", deterministic=False)
def check_determinism(target: Target) -> None:
    """All results but those of the solve are bitwise equal in later runs and sessions, for any batches or workers."""
    case = target.large_case()
    variants: list[dict[str, Any]] = [{}]
    variants += [{"batch_size": size} for size in (1, 100, 10_000) if "batch_size" in target.accepted]
    variants += [{"workers": n} for n in (1, 3) if "workers" in target.accepted]
    variants += [
        {"threads": n}
        for n in (1, 2)
        if "threads" in target.accepted.keys() - (target.options or {}).keys() and n <= available_cores()
    ]
    wanted = stages_of(target.session, case)
    for variant in variants:
        with target.open(**variant) as session:
            for _ in range(2):
                _assert_same(stages_of(session, case), wanted, variant)
    rng = np.random.default_rng(1)
    large = many_elements(target.most(_MANY))
    badly = Case(renumbered(turned(large.mesh, rng), rng), large.problem)
    first = stages_of(target.session, badly)
    for run in range(5 if target.thorough else 4):
        if run == 2:  # the pattern, too, is made again
            target.session.forget()
        _assert_same(stages_of(target.session, badly), first, {})


def _assert_same(found: Stages, wanted: Stages, variant: dict[str, Any]) -> None:
    by = ", ".join(f"{name}={value}" for name, value in variant.items()) or "time"
    for (name, mine), first in zip(found.arrays().items(), wanted.arrays().values(), strict=True):
        assert np.array_equal(mine, first), f"{name} changes with {by}"


@check("options")
def check_options(target: Target) -> None:
    """With each value of each option, beside the default, the results are right."""
    if not target.accepted:
        raise NotApplicable("the backend has no options")
    case = target.typical_case()
    few = Case(generate.duct(nx=5, ny=3), Problem((Robin("inlet", 2.5), Dirichlet("outlet")), 2.0, wave))
    given = dict(target.options or {})
    variants: list[dict[str, Any]] = [{}]
    for option in target.accepted.values():
        if option.name not in given and option.name not in _VARIED:
            variants += [{option.name: value} for value in _values(option)]
    for variant in variants:
        # the default as a user gets it, and every other value where the work reaches workers
        opener = target.open if variant else target.open_as_given
        try:
            session = opener(**variant)
        except BackendUnavailable as error:
            target.leave_out(f"{_text(variant)}: {error}")
            continue
        with session:
            try:
                _check_cases(session, [few, case])
            except BackendUnavailable as error:  # workers start with the first run
                target.leave_out(f"{_text(variant)}: {error}")
            except Exception as error:
                error.add_note(f"with {_text(variant)}")
                raise AssertionError(f"with {_text(variant)}: {error}") from error


def _text(variant: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in variant.items()) or "the default options"


def _check_cases(session: Session, cases: list[Case]) -> None:
    for case in cases:
        assert_stages(session, case)
        stages_of(session, case)  # from the second use of a pattern on, the way may be another
        assert_stages(session, case)
    assert_solution(session.solve(cases[0].mesh, cases[0].problem, solver="cg", rtol=1e-11), rtol=1.1e-11)


def _values(option: Option) -> Iterator[Any]:
    """Values of an option beside its default: every choice; of numbers, one to tune, or the smallest and another."""
    if option.choices:
        found = list(option.choices)
    elif option.type is bool:
        found = [True, False]
    else:
        try:
            number = option.type("3")
        except Exception:
            return  # the kit can't make up values of this type
        if isinstance(number, bool) or not isinstance(number, int | float):
            return
        low = option.minimum if option.minimum is not None else 1
        found = list(option.values(2))[:1] or [option.type(low), option.type(low + 2)]
    yield from dict.fromkeys(value for value in found if value != option.default)


@check("pattern_again", "compute_sparsity", deterministic=False)
def check_pattern_again(target: Target) -> None:
    """The pattern of a large, badly numbered mesh is right, and the same when it is made again."""
    rng = np.random.default_rng(2)
    mesh = with_orphans(many_elements(target.most(_MANY)).mesh, 77, rng)
    mesh = replace(mesh, quad8=mesh.quad8[rng.permutation(mesh.n_elements)])
    for _ in range(2):
        target.session.forget()
        run = target.session.stages()
        assert_pattern(run.to_host(run.perform(COMPUTE_SPARSITY, mesh), COMPUTE_SPARSITY, mesh), mesh)
