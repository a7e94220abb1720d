"""Elements on which arithmetic is hard, and how many roundings a backend is away from the oracle on them."""

from functools import cache

import numpy as np
import oracle
from fem_core import Problem
from fem_core.mesh.geometry import det_jacobian
from fem_core.mesh.mesh import Mesh
from fem_core.testing import tolerance
from fem_core.testing.target import derived
from fem_core.tools.bench import assembled

#: Elements of each kind.
N = 40

#: The largest number of roundings: the docstring of `fem_core.testing.tolerance` gives those that were seen.
MOST = {"stiffness": 2.0, "load": 1.0, "derived": 0.5, "robin": 1.0, "system": 1.0}

#: That of element matrices where det J comes near 0 at one point.
MOST_FOLDED = 12.0


def _curved(rng, mid=0.1):
    """Corners moved by up to 15 % of the side, mid-sides by up to 5 % in each direction."""
    X = np.broadcast_to(np.array(oracle.NODES, dtype=float), (N, 8, 2)).copy()
    X[:, :4] += rng.uniform(-0.3, 0.3, (N, 4, 2))
    X[:, 4:] = (X[:, :4] + X[:, [1, 2, 3, 0]]) / 2 + rng.uniform(-mid, mid, (N, 4, 2))
    return X


def _nearly_folded(rng):
    """det J at a Gauss point is less than a tenth of that at another one, or negative."""
    kept = np.empty((0, 8, 2))
    while len(kept) < N:
        X = _curved(rng, 0.45)
        det = det_jacobian(_mesh(X))[:, :9]
        kept = np.concatenate([kept, X[det.min(axis=1) < 0.1 * det.max(axis=1)]])
    return kept[:N]


def _turned(rng, X):
    θ = rng.uniform(0, 2 * np.pi, len(X))
    c, s = np.cos(θ), np.sin(θ)
    return np.einsum("cdn,nid->nic", np.array([[c, -s], [s, c]]), X)


def _sizes(rng, low, high):
    return 10 ** rng.uniform(low, high, (N, 1, 1))


def _thin(rng, low, high):
    return _turned(rng, _curved(rng) * np.concatenate([np.ones((N, 1, 1)), _sizes(rng, low, high)], axis=2))


def _far(rng, low, high):
    return _turned(rng, np.ones((N, 1, 2))) * _sizes(rng, low, high)


#: Coordinates (N, 8, 2) of each kind.
KINDS = {
    "curved": _curved,
    "nearly folded": _nearly_folded,
    "clockwise": lambda rng: _curved(rng)[:, [0, 3, 2, 1, 7, 6, 5, 4]],
    "sliver": lambda rng: _thin(rng, -6, -1),
    "offset": lambda rng: _curved(rng) + _far(rng, 0, 6),
    "thin and far": lambda rng: _thin(rng, -3, -1) + _far(rng, 0, 4),
    "tiny": lambda rng: _turned(rng, _curved(rng)) * _sizes(rng, -12, -3),
    "huge": lambda rng: _turned(rng, _curved(rng)) * _sizes(rng, 3, 12),
}


def _mesh(X):
    """The elements side by side, without common nodes."""
    quad8 = np.arange(8 * len(X), dtype=np.int32).reshape(-1, 8)
    return Mesh(X[..., 0].ravel(), X[..., 1].ravel(), quad8, {}).mark_valid()


@cache
def _case(kind):
    """A mesh of N elements of a kind, a problem, a potential, and what they should give."""
    rng = np.random.default_rng(list(KINDS).index(kind))
    X = KINDS[kind](rng)
    x, y = X[..., 0], X[..., 1]
    k, s, u = 10 ** rng.uniform(-3, 3, N), rng.normal(size=(N, 8)), rng.normal(size=(N, 8))
    wanted = {
        "stiffness": list(map(oracle.stiffness, x, y, k)),
        "load": list(map(oracle.load, x, y, s)),
        "derived": list(map(oracle.derived, x, y, u)),
    }
    return _mesh(X), Problem((), k, s.ravel()), u.ravel(), wanted


def roundings(session, kind):
    """The largest errors of element matrices, loads and fields, in the unit of the kit's tolerances."""
    mesh, problem, u, wanted = _case(kind)
    system, fields = assembled(session, mesh, problem), derived(session, mesh, problem, u)
    found = {
        "stiffness": system.matrix.data.reshape(N, 8, 8),  # the pattern's own order: nodes are numbered by element
        "load": system.rhs.reshape(N, 8),
        "derived": np.column_stack([fields.velocity, fields.speed]),
    }
    unit = {
        "stiffness": tolerance.element_stiffness(mesh, problem.conductivity_on(mesh)),
        "load": tolerance.element_load(mesh, problem.source_on(mesh)),
        "derived": tolerance.derived(mesh, u)[:, None],
    }
    return {what: float((tolerance.C * oracle.errors(found[what], wanted[what]) / unit[what]).max()) for what in wanted}


def assert_close_to_the_oracle(session, kind):
    """Each kind of result is at most as many roundings away as `MOST` says, and not none: the oracle sees them."""
    for what, most in roundings(session, kind).items():
        allowed = MOST_FOLDED if (kind, what) == ("nearly folded", "stiffness") else MOST[what]
        assert 0.01 < most <= allowed, f"{what}: {most:.2f} roundings"
