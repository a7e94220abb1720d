"""The pattern and the slots against SciPy, and sums in element order against a Python loop."""

import numpy as np
import pytest
from fem_core import BackendError, compute_sparsity
from fem_core.assembly import sparsity as symbolic
from fem_core.assembly.blocks import blocks
from fem_core.assembly.sparsity import csr_positions
from hypothesis import given
from hypothesis import strategies as st
from meshes import small_meshes, squares
from scipy import sparse


def reference(mesh, Ke):
    """SciPy's own COO to CSR of the same entries, and of ones on the diagonal for orphans."""
    rows, columns = np.repeat(mesh.quad8, 8, axis=1).ravel(), np.tile(mesh.quad8, 8).ravel()
    rows, columns = np.append(rows, mesh.orphan_nodes), np.append(columns, mesh.orphan_nodes)
    values = np.append(Ke.ravel(), np.zeros(len(mesh.orphan_nodes)))
    return sparse.coo_array((values, (rows, columns)), shape=2 * (mesh.n_nodes,)).tocsr()


@given(small_meshes())
def test_pattern_and_sums_are_scipy_s(mesh):
    # Columns ascending, no duplicates, orphans' diagonal entries in it; values up to the order of summation.
    sparsity = compute_sparsity(mesh)
    Ke = np.random.default_rng(1).uniform(1, 2, (mesh.n_elements, 8, 8))
    K = reference(mesh, Ke)
    assert np.array_equal(K.indptr, sparsity.indptr)
    assert np.array_equal(K.indices, sparsity.indices)
    np.testing.assert_allclose(sparsity.scatter(Ke), K.data, rtol=1e-15)
    assert (sparsity.n_nodes, sparsity.nnz) == (mesh.n_nodes, K.nnz)
    assert {a.dtype for a in (sparsity.indptr, sparsity.indices, sparsity.slots)} == {np.dtype(np.int32)}


@given(small_meshes())
def test_slots_point_at_their_entries(mesh):
    # Entry (i, j) of an element goes to (node i, node j), and not to its transpose: the pattern can't tell.
    sparsity = compute_sparsity(mesh)
    row_of = np.repeat(np.arange(mesh.n_nodes), np.diff(sparsity.indptr))
    assert np.array_equal(np.repeat(mesh.quad8[:, :, None], 8, axis=2), row_of[sparsity.slots])
    assert np.array_equal(np.repeat(mesh.quad8[:, None, :], 8, axis=1), sparsity.indices[sparsity.slots])


@given(small_meshes())
def test_every_diagonal_entry_is_in_the_pattern(mesh):
    # Fixing nodes writes there, orphans included.
    sparsity = compute_sparsity(mesh)
    nodes = np.arange(mesh.n_nodes)
    assert np.array_equal(nodes, sparsity.indices[sparsity.diagonal])
    assert np.all((sparsity.indptr[:-1] <= sparsity.diagonal) & (sparsity.diagonal < sparsity.indptr[1:]))
    assert np.array_equal(np.diff(sparsity.indptr)[mesh.orphan_nodes], np.ones(len(mesh.orphan_nodes)))


@given(small_meshes())
def test_sums_are_made_in_element_order(mesh):
    # Bit by bit: with values of such different size any other order gives other last digits.
    sparsity = compute_sparsity(mesh)
    rng = np.random.default_rng(2)
    Ke = rng.normal(size=(mesh.n_elements, 8, 8)) * 10.0 ** rng.integers(-8, 8, (mesh.n_elements, 8, 8))
    expected = np.zeros(sparsity.nnz)
    for e in range(mesh.n_elements):
        for i in range(8):
            for j in range(8):
                expected[sparsity.slots[e, i, j]] += Ke[e, i, j]
    assert np.array_equal(expected, sparsity.scatter(Ke))


def test_another_order_would_be_noticed():
    # The test above can fail: summed backwards, some entries differ.
    mesh = squares(6)
    sparsity = compute_sparsity(mesh)
    Ke = np.random.default_rng(3).normal(size=(36, 8, 8))
    backwards = np.bincount(sparsity.slots[::-1].ravel(), Ke[::-1].ravel(), minlength=sparsity.nnz)
    assert not np.array_equal(sparsity.scatter(Ke), backwards)


def test_interior_entries_are_shared_by_their_elements():
    # By hand: the centre of 2 x 2 squares is in four elements, the mid-side beside it in two.
    mesh = squares(2)
    sparsity = compute_sparsity(mesh)
    counts = sparsity.scatter(np.ones((4, 8, 8)))
    centre = np.flatnonzero((mesh.x == 0.5) & (mesh.y == 0.5))[0]
    mid = np.flatnonzero((mesh.x == 0.75) & (mesh.y == 0.5))[0]
    corner = np.flatnonzero((mesh.x == 1) & (mesh.y == 1))[0]
    assert [counts[sparsity.diagonal[n]] for n in (centre, mid, corner)] == [4, 2, 1]
    row = slice(sparsity.indptr[centre], sparsity.indptr[centre + 1])
    assert np.array_equal(np.arange(21), sparsity.indices[row])


@given(small_meshes(), st.randoms())
def test_csr_positions_finds_any_entries(mesh, random):
    # In any order, and more than once.
    sparsity = compute_sparsity(mesh)
    wanted = np.array([random.randrange(sparsity.nnz) for _ in range(20)])
    rows = np.searchsorted(sparsity.indptr, wanted, side="right") - 1
    found = csr_positions(sparsity.indptr, sparsity.indices, rows, sparsity.indices[wanted])
    assert np.array_equal(wanted, found)
    assert found.dtype == np.int32


@pytest.mark.parametrize("entry", [(0, 20), (20, 0), (0, 12)])
def test_csr_positions_refuses_what_is_not_there(entry):
    # Opposite corners of the square don't meet in an element; the neighbour's value must not be taken.
    sparsity = compute_sparsity(squares(2))
    with pytest.raises(KeyError, match=rf"entry \({entry[0]}, {entry[1]}\) is not in the pattern"):
        csr_positions(sparsity.indptr, sparsity.indices, np.array([0, entry[0]]), np.array([0, entry[1]]))


def test_csr_positions_of_nothing():
    # A problem without fixed nodes asks for none.
    sparsity = compute_sparsity(squares(1))
    none = np.empty(0, dtype=np.int32)
    assert len(csr_positions(sparsity.indptr, sparsity.indices, none, none)) == 0


def test_places_that_need_more_than_32_bits_are_refused(monkeypatch):
    # Before anything is made of them; with the limit lowered, as a mesh of 33,554,432 elements takes 12 GB.
    assert symbolic.MOST_ENTRIES // 64 == 33_554_431
    mesh = squares(3)
    pattern = compute_sparsity(mesh)
    monkeypatch.setattr(symbolic, "MOST_ENTRIES", 64 * 9)
    assert compute_sparsity(mesh).nnz == pattern.nnz
    monkeypatch.setattr(symbolic, "MOST_ENTRIES", 64 * 9 - 1)
    with pytest.raises(BackendError, match=r"^\w+: 9 elements are too many for 32-bit .* the limit is 8; use"):
        compute_sparsity(mesh)
    with pytest.raises(BackendError, match="9 elements are too many"):
        blocks(pattern, 4)
