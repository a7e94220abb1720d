"""How long a solve will take and how much memory, before it is begun: right within a factor of about two.

What a machine can do is measured on the mesh itself, in milliseconds: the element matrices of some elements, which
is arithmetic, and the product of a sparse matrix of the mesh's numbering with a vector, which is memory. The rest
are the constants below, fitted to measurements (2 cores of an AMD EPYC, 3 thousand to 1.4 million nodes).

What CG has to do depends on how far it is across the mesh. With h the shorter side of an element, measured between
opposite mid-sides, the *length* D of a mesh is ∫ ds/h along the way from the outlet to the node that is farthest, and
its *width* W that of the strip with as many squares of side h: W = Σ (aspect of an element) / D. On meshes of all
kinds, regular and not, also with elements stretched 20:1, CG takes 3.5 to 8.4 times D + W iterations to 1e-8. (Where
u depends on one coordinate only it takes fewer, about 2.5.) A factorisation costs in proportion to nodes x
W: a mesh as narrow as a tube is cheaper than a square one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from fem_core.assembly.element import element_stiffness
from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.types import Ints

#: Bytes before there is a mesh.
INTERPRETER = 68e6

#: Seconds of an element's matrix on the machine where the constants were fitted.
REFERENCE = 2.6e-7

_ASSEMBLY = 15.0  # all that isn't solving, by element, over the element matrices alone
_START = 0.004  # seconds of the smallest run
_NODE, _ORPHAN = 730, 60  # bytes by node at the peak of assembly and of cg
_SAMPLE = 100_000  # elements of the product that is timed: more than the caches hold


@dataclass(frozen=True)
class Cost:
    """The cost of a solve: total seconds, bytes at the peak, and the iterations of an iterative solver."""

    seconds: float
    memory: float
    iterations: int = 0


@dataclass(frozen=True)
class Work:
    """The quantities on which the cost of a solver depends.

    Parameters
    ----------
    nodes, orphans, elements, entries : int
        Nodes in use and orphan nodes, and non-zeros of the matrix.
    length, width : float
        D and W of the mesh, in elements: see `fem_core.assembly.cost`.
    arithmetic, traffic : float
        Seconds by element of element matrices and of a product with a matrix of 48 entries by element, here.
    """

    nodes: int
    orphans: int
    elements: int
    entries: int
    length: float
    width: float
    arithmetic: float
    traffic: float

    @property
    def assembly(self) -> Cost:
        """All stages but the solver."""
        seconds = _START + _ASSEMBLY * self.arithmetic * self.elements
        return Cost(seconds, INTERPRETER + _NODE * self.nodes + _ORPHAN * self.orphans)


def work_on(mesh: Mesh, sources: Ints) -> Work:
    """The work of a solve on a mesh whose u is held at the nodes `sources`."""
    length, width = _size(mesh, sources)
    return Work(
        len(mesh.used_nodes),
        len(mesh.orphan_nodes),
        mesh.n_elements,
        matrix_entries(mesh),
        length,
        width,
        *_rates(mesh),
    )


def matrix_entries(mesh: Mesh) -> int:
    """Non-zeros of the matrix, without its pattern: 28 pairs of nodes an element, 3 of them twice at shared edges."""
    shared = (4 * mesh.n_elements - len(mesh.exterior_edges)) // 2
    return mesh.n_nodes + 2 * (28 * mesh.n_elements - 3 * shared)


def _size(mesh: Mesh, sources: Ints) -> tuple[float, float]:
    """D and W."""
    x, y, quad8 = mesh.x, mesh.y, mesh.quad8
    across = [np.hypot(x[quad8[:, i]] - x[quad8[:, j]], y[quad8[:, i]] - y[quad8[:, j]]) for i, j in ((5, 7), (4, 6))]
    h = np.minimum(*across)
    a, _, b = quad8[:, q8.EDGES].reshape(-1, 3).T
    steps = np.hypot(x[a] - x[b], y[a] - y[b]) / np.repeat(h, 4)
    graph = sparse.csr_array((steps, (a, b)), shape=(mesh.n_nodes, mesh.n_nodes))
    distance = csgraph.dijkstra(graph, directed=False, indices=sources, min_only=True)
    length = max(1.0, float(distance[np.isfinite(distance)].max(initial=1.0)))
    return length, max(1.0, float((np.maximum(*across) / h).sum()) / length)


def _rates(mesh: Mesh) -> tuple[float, float]:
    few = np.resize(mesh.quad8, (2048, 8))
    x, y = mesh.x[few], mesh.y[few]
    some = np.resize(mesh.quad8, (min(max(mesh.n_elements, 64), _SAMPLE), 8))
    n = len(some)
    matrix = sparse.csr_array(
        (np.ones(48 * n), np.tile(some, 6).ravel(), np.arange(0, 48 * n + 1, 8, dtype=np.int32)),
        shape=(6 * n, mesh.n_nodes),
    )
    u = np.ones(mesh.n_nodes)
    return _best(lambda: element_stiffness(x, y, 1.0)) / len(few), _best(lambda: matrix @ u) / n


def _best(work: Callable[[], object], repeats: int = 5, least: float = 0.03) -> float:
    """Seconds of the fastest run. All runs take `least` seconds or more: an idle core needs them to reach its speed."""
    seconds: list[float] = []
    while len(seconds) < repeats or sum(seconds) < least:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
