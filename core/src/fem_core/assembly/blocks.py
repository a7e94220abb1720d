"""The sum into the matrix, cut so that workers can do it, to the same bits.

Elements are taken in blocks. Most entries of the matrix get contributions from one block alone: their sums
are done where the block is computed, in element order. For the others, the *seams*, the contributions
themselves are handed over, and are summed afterwards, again in element order. So every value is the same sum as
by `Sparsity.scatter`, whichever worker computes a block, and the element matrices never leave the cache of
that worker.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from fem_core.assembly.sparsity import Sparsity, accumulate, require_places
from fem_core.types import Array, Floats, Ints


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where the entries of each block's element matrices go; depends on the pattern alone.

    Parameters
    ----------
    local : int32 (n_elements, 64)
        Number of each entry's slot among the slots of its block.
    slots, slot_bounds : intp (…,), int32 (n_blocks + 1,)
        The slots of each block, one block's after the other's.
    seams, seam_bounds : int32 (…,), int32 (n_blocks + 1,)
        Entries 64 e + 8 i + j whose slot several blocks contribute to, by block.
    seam_slots, seam_place : int32
        The slots on seams and those without any contribution (of orphan nodes); for each entry of `seams` the
        number of its slot among them.
    """

    local: Ints
    slots: Ints
    slot_bounds: Ints
    seams: Ints
    seam_bounds: Ints
    seam_slots: Ints
    seam_place: Ints

    @property
    def inputs(self) -> dict[str, Array]:
        """What the kernel `stiffness_sums` reads beside the inputs of `stiffness`."""
        names = ("local", "slots", "slot_bounds", "seams", "seam_bounds")
        return {name: getattr(self, name) for name in names}

    @property
    def share_of_seams(self) -> float:
        """Part of all contributions that have to be handed over."""
        return len(self.seams) / max(1, self.local.size)

    def close(self, values: Floats, contributions: Floats) -> None:
        """Sum the contributions on seams into CSR `values`, which hold all other sums."""
        values[self.seam_slots] = accumulate(self.seam_place, contributions, len(self.seam_slots))


def blocks(sparsity: Sparsity, size: int) -> Blocks:
    """Blocks of `size` elements, in time linear in the number of entries."""
    require_places(len(sparsity.slots), "elements", "blocks", 64)
    n, nnz, flat = len(sparsity.slots), sparsity.nnz, sparsity.slots.ravel()
    starts = np.append(np.arange(0, 64 * n, 64 * size), 64 * n).astype(np.int32)
    n_blocks = len(starts) - 1
    # by block, and in a block by slot: two stable counting sorts
    entries = sparse.csr_array((np.arange(64 * n, dtype=np.int32), flat, starts), shape=(n_blocks, nnz))
    entries = entries.tocsc().tocsr()
    new = np.empty(64 * n, dtype=bool)
    np.not_equal(entries.indices[1:], entries.indices[:-1], out=new[1:])
    new[starts[:-1]] = True
    number = np.cumsum(new, dtype=np.int32)
    slot_bounds = np.append(0, number[starts[1:] - 1]).astype(np.int32)
    number -= 1 + np.repeat(slot_bounds[:-1], np.diff(starts))
    local = np.empty(64 * n, dtype=np.int32)
    local[entries.data] = number
    slots = entries.indices[new].astype(np.intp)  # NumPy's own index type: nothing to convert in every run
    del entries, new, number
    on_seam = np.bincount(slots, minlength=nnz) != 1  # or no contribution at all
    seams = np.flatnonzero(on_seam[flat]).astype(np.int32)
    seam_slots = np.flatnonzero(on_seam).astype(np.int32)
    place = np.cumsum(on_seam, dtype=np.int32)[flat[seams]] - 1
    seam_bounds = np.searchsorted(seams, starts).astype(np.int32)
    return Blocks(local.reshape(n, 64), slots, slot_bounds, seams, seam_bounds, seam_slots, place)
