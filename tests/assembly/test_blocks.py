"""The sum by blocks: bit by bit that of `Sparsity.scatter`, for any mesh, order of elements and size of block."""

import numpy as np
import pytest
from fem_core import assemble_system, compute_sparsity
from fem_core.assembly import element_stiffness, kernels
from fem_core.assembly.blocks import blocks
from fem_core.backends import NUMPY, BatchedBackend
from fem_core.execution import SerialExecutor
from fem_core.run.session import Session
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import distorted, renumbered, small_meshes


def by_blocks(sparsity, Ke, size):
    """What workers and `close` do, in one thread and without kernels."""
    cut = blocks(sparsity, size)
    values, contributions = np.full(sparsity.nnz, np.nan), np.full(len(cut.seams), np.nan)
    for block, first in enumerate(range(0, len(Ke), size)):
        part, terms = cut.local[first : first + size].ravel(), Ke[first : first + size].ravel()
        a, b = cut.slot_bounds[block : block + 2]
        values[cut.slots[a:b]] = np.bincount(part, terms, minlength=b - a)
        a, b = cut.seam_bounds[block : block + 2]
        contributions[a:b] = terms[cut.seams[a:b] - 64 * first]
    cut.close(values, contributions)
    return values


@settings(max_examples=40)
@given(small_meshes(most=9), st.integers(1, 90), st.randoms(use_true_random=False))
def test_values_are_those_of_scatter(mesh, size, random):
    # Numbers of very different size, so that any other order of summation would show.
    sparsity = compute_sparsity(mesh)
    rng = np.random.default_rng(random.randrange(1000))
    Ke = rng.normal(size=(mesh.n_elements, 8, 8)) * 10.0 ** rng.integers(-8, 8, size=(mesh.n_elements, 8, 8))
    assert np.array_equal(sparsity.scatter(Ke), by_blocks(sparsity, Ke, size))


def test_orphan_nodes_get_zeros():
    mesh, _, _ = renumbered(distorted(9, 8, seed=2), orphans=7)
    sparsity = compute_sparsity(mesh)
    found = by_blocks(sparsity, np.ones((mesh.n_elements, 8, 8)), 16)
    assert np.array_equal(sparsity.scatter(np.ones((mesh.n_elements, 8, 8))), found)


class Summing(SerialExecutor):
    """An executor whose workers may write anywhere."""

    def __init__(self):
        super().__init__(100)
        self.kernels = []

    def scratch(self, n, shapes):
        return {name: np.full(shape, np.nan) for name, shape in shapes.items()}

    def map_ranges(self, kernel, *arguments):
        self.kernels.append(kernel.__name__)
        return super().map_ranges(kernel, *arguments)


def test_the_second_assembly_on_a_pattern_sums_by_blocks(monkeypatch):
    # Finding the blocks takes as long as some assemblies: a mesh that is solved once shouldn't pay for it.
    mesh = distorted(40, 40, seed=1)
    k = np.linspace(1, 2, mesh.n_elements)
    monkeypatch.setattr(kernels, "BLOCK", 512)
    monkeypatch.setattr(kernels.stiffness_sums, "grain", 512)
    executor = Summing()
    from fem_core import Problem

    expected = assemble_system(mesh, Problem((), k)).matrix.data
    sparsity = compute_sparsity(mesh)
    with Session([(NUMPY, BatchedBackend(executor))]) as session:
        for _ in range(3):
            found = assemble_system(mesh, Problem((), k), sparsity, backend=session)
            assert np.array_equal(expected, found.matrix.data)
    assert executor.kernels == ["stiffness", "stiffness_sums", "stiffness_sums"]


def test_a_mesh_that_is_all_seams_is_left_to_scatter(monkeypatch):
    # Elements in random order: blocks share most of their slots.
    mesh = distorted(30, 30, seed=1)
    mesh = type(mesh)(mesh.x, mesh.y, np.random.default_rng(0).permutation(mesh.quad8), {})
    monkeypatch.setattr(kernels, "BLOCK", 64)
    assert blocks(compute_sparsity(mesh), 64).share_of_seams > 0.25
    executor = Summing()
    sparsity = compute_sparsity(mesh)
    with Session([(NUMPY, BatchedBackend(executor))]) as session:
        for _ in range(3):
            assemble_system(mesh, None, sparsity, backend=session)
    assert executor.kernels == ["stiffness"] * 3


def test_a_pattern_with_more_entries_than_places_is_left_to_scatter(monkeypatch):
    # The pattern of a backend that numbers the entries of the matrix only may be that large.
    mesh, executor = distorted(8, 8, seed=1), Summing()
    pattern = compute_sparsity(mesh)
    monkeypatch.setattr("fem_core.assembly.sparsity.MOST_ENTRIES", 64 * mesh.n_elements - 1)
    with Session([(NUMPY, BatchedBackend(executor))]) as session:
        for _ in range(2):
            assemble_system(mesh, None, pattern, backend=session)
    assert executor.kernels == ["stiffness"] * 2


@pytest.mark.parametrize("size", [1, 33, 4096])
def test_blocks_know_their_slots(size):
    mesh = distorted(12, 9, seed=3)
    sparsity = compute_sparsity(mesh)
    cut = blocks(sparsity, size)
    flat = sparsity.slots.reshape(-1, 64)
    for block, first in enumerate(range(0, mesh.n_elements, size)):
        mine = cut.slots[cut.slot_bounds[block] : cut.slot_bounds[block + 1]]
        assert np.array_equal(np.unique(flat[first : first + size]), mine)
        assert np.array_equal(mine[cut.local[first : first + size]], flat[first : first + size])
    assert element_stiffness(mesh.x[mesh.quad8], mesh.y[mesh.quad8], 1.0).shape == flat.reshape(-1, 8, 8).shape
