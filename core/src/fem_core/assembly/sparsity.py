"""The symbolic part of assembly: the position of each element's entries in the CSR matrix."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from fem_core.errors import BackendError
from fem_core.mesh.mesh import Mesh
from fem_core.types import Array, Floats, Ints, read_only

#: The largest number of entries of the matrix, and of all element matrices together: their places are 32-bit numbers.
MOST_ENTRIES = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Sparsity:
    """Pattern of the global matrix; it depends only on the mesh's topology.

    Parameters
    ----------
    indptr : int32 (n_nodes + 1,)
    indices : int32 (nnz,)
        CSR pattern, columns ascending; every diagonal entry is in it, also those of orphan nodes.
    slots : int32 (n_elements, 8, 8)
        Position in the CSR values of each element's entry (i, j).
    """

    indptr: Ints
    indices: Ints
    slots: Ints

    def __post_init__(self) -> None:
        for name in ("indptr", "indices", "slots"):  # sessions keep patterns and share them between runs
            if isinstance(array := getattr(self, name), np.ndarray):  # other types are refused later, by name
                object.__setattr__(self, name, read_only(array))

    @property
    def n_nodes(self) -> int:
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        return len(self.indices)

    @cached_property
    def diagonal(self) -> Ints:
        """Position of each diagonal entry in the CSR values, int32 (n_nodes,)."""
        nodes = np.arange(self.n_nodes, dtype=np.int32)
        return csr_positions(self.indptr, self.indices, nodes, nodes)

    def scatter(self, Ke: Floats) -> Floats:
        """CSR values, float64 (nnz,): the element matrices (n_elements, 8, 8), summed in element order."""
        return accumulate(self.slots, Ke, self.nnz)

    def to_host(self) -> "Sparsity":
        return self


def has_places(entries: int) -> bool:
    """Whether the places of so many entries have 32-bit numbers."""
    return entries <= MOST_ENTRIES


def require_places(number: int, what: str, source: str, each: int = 1) -> None:
    """Raises BackendError if `number` of `what`, with so many entries `each`, have more entries than places."""
    if not has_places(number * each):
        raise BackendError(
            f"{source}: {number:,} {what} are too many for 32-bit numbers of the places of matrix entries; "
            f"the limit is {MOST_ENTRIES // each:,}; use a coarser mesh"
        )


def compute_sparsity(mesh: Mesh) -> Sparsity:
    """The pattern of the matrix of `mesh`. The time is proportional to the number of entries.

    The 64 entries of each element are listed column by column (the incidence of nodes and elements
    gives them in that order), and one stable counting sort by row puts equal entries side by side.
    """
    require_places(mesh.n_elements, "elements", mesh.source, 64)
    n, n_nodes = mesh.n_elements, mesh.n_nodes
    incidence = sparse.csr_array(
        (np.ones(8 * n, dtype=np.int8), mesh.quad8.ravel(), np.arange(0, 8 * n + 1, dtype=np.int32)),
        shape=(8 * n, n_nodes),
    ).tocsc()
    place = incidence.indices.astype(np.int32, copy=False)  # 8 e + j for each time a node is in an element
    element, j = place >> 3, place & 7
    entry = (element * 64 + j)[:, None] + np.arange(0, 64, 8, dtype=np.int32)  # 64 e + 8 i + j
    columns = sparse.csc_array(
        (entry.ravel(), mesh.quad8[element].ravel(), incidence.indptr * 8), shape=(n_nodes, n_nodes)
    )
    del incidence, place, element, j, entry
    rows = columns.tocsr()
    del columns
    new = np.empty(rows.nnz, dtype=bool)
    new[:1] = True
    np.not_equal(rows.indices[1:], rows.indices[:-1], out=new[1:])
    starts = rows.indptr[:-1][np.diff(rows.indptr) > 0]
    new[starts] = True
    indices = rows.indices[new]
    slot = np.cumsum(new, dtype=np.int32)
    slot -= 1
    indptr = np.append(slot, len(indices)).astype(np.int32)[rows.indptr]
    indptr, indices, shift = _with_orphans(indptr, indices, mesh.orphan_nodes)
    if shift is not None:
        slot += np.repeat(shift, np.diff(rows.indptr))
    del new
    slots = np.empty(64 * n, dtype=np.int32)
    slots[rows.data] = slot
    return Sparsity(indptr, indices, slots.reshape(n, 8, 8))


def fault_in(found: Sparsity, mesh: Mesh) -> str | None:
    """What is wrong with the pattern; None if every slot leads to the row and column of its entry."""
    start, stop = found.indptr[:-1], found.indptr[1:]
    if not (start <= stop).all() or found.indptr[0] != 0:
        return "indptr doesn't rise"
    for i in range(8):
        slots, row = found.slots[:, i], mesh.quad8[:, i, None]
        if not ((start[row] <= slots) & (slots < stop[row]) & (found.indices[slots] == mesh.quad8)).all():
            return "slots lead elsewhere"
    diagonal = found.indices[start[mesh.orphan_nodes]]
    return None if np.array_equal(diagonal, mesh.orphan_nodes) else "diagonals of orphan nodes are missing"


def _with_orphans(indptr: Ints, indices: Ints, orphans: Ints) -> tuple[Ints, Ints, Ints | None]:
    """Pattern with a diagonal entry in the empty rows, and how far each row's entries moved."""
    if not len(orphans):
        return indptr, indices, None
    shift = np.zeros(len(indptr), dtype=np.int32)
    shift[orphans + 1] = 1
    np.cumsum(shift, out=shift)
    return indptr + shift, np.insert(indices, indptr[orphans], orphans), shift[:-1]


def accumulate(place: Array, terms: Floats, length: int) -> Floats:
    """Sums of `terms` by their `place` in a vector of `length`, added in their order."""
    sums: Array = np.bincount(place.ravel(), terms.ravel(), minlength=length)
    return sums


def accumulation(terms: int, length: int) -> int:
    """Bytes that `accumulate` takes: the places as NumPy's index type, and the sums."""
    return 8 * (terms + length)


def csr_positions(indptr: Ints, indices: Ints, rows: Ints, columns: Ints) -> Ints:
    """Positions of the entries (rows[n], columns[n]) in CSR values, by bisection in all rows at once.

    Raises KeyError if an entry isn't in the pattern.
    """
    low, high = indptr[rows].astype(np.int64), indptr[rows + 1].astype(np.int64)
    end = high
    while (open_ := low < high).any():
        middle = (low + high) // 2
        right = open_ & (indices[np.minimum(middle, len(indices) - 1)] < columns)
        low = np.where(right, middle + 1, low)
        high = np.where(open_ & ~right, middle, high)
    found: Array = low < end
    found &= indices[np.minimum(low, len(indices) - 1)] == columns
    if not found.all():
        first = int(np.flatnonzero(~found)[0])
        raise KeyError(f"entry ({rows[first]}, {columns[first]}) is not in the pattern")
    return low.astype(np.int32)
