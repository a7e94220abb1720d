"""Patterns on disk: off by default, capped, and never trusted blindly."""

import os

import fem_core as fem
import numpy as np
import pytest
from fem_core.assembly import sparsity as symbolic
from fem_core.backends import pattern_cache


@pytest.fixture
def computed(monkeypatch, tmp_path):
    """The cache in a folder of its own, and the fingerprints of the patterns that had to be computed."""
    monkeypatch.setattr(pattern_cache, "folder", lambda: tmp_path / "sparsity")
    monkeypatch.setenv("FEM_CACHE_MB", "10")
    done = []
    compute = symbolic.compute_sparsity
    monkeypatch.setattr(symbolic, "compute_sparsity", lambda mesh: done.append(mesh.fingerprint) or compute(mesh))
    return done


def test_a_pattern_is_computed_once_for_all_sessions(computed):
    mesh = fem.generate.duct(nx=4, ny=3)
    first = fem.assemble_system(mesh).matrix
    again = fem.assemble_system(mesh).matrix
    assert computed == [mesh.fingerprint]
    assert np.array_equal(first.data, again.data)
    assert np.array_equal(first.indices, again.indices)


def test_it_is_off_by_default(computed, monkeypatch):
    monkeypatch.delenv("FEM_CACHE_MB")
    mesh = fem.generate.duct(nx=2, ny=2)
    fem.assemble_system(mesh)
    fem.assemble_system(mesh)
    assert len(computed) == 2
    assert not pattern_cache.folder().exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:900] + b"?" * 9 + data[909:],
        lambda data: data[:-1],
        lambda data: data + bytes(4),
        lambda data: data + bytes(10**6),
    ],
)
def test_a_damaged_entry_is_computed_again(computed, damage):
    mesh = fem.generate.duct(nx=4, ny=3)
    wanted = fem.compute_sparsity(mesh)
    fem.assemble_system(mesh)
    (entry,) = pattern_cache.folder().iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    fem.assemble_system(mesh)
    assert len(computed) == 2
    assert np.array_equal(pattern_cache.load(mesh).slots, wanted.slots)


def test_an_entry_of_another_mesh_is_not_used(computed, caplog):
    mesh, other = fem.generate.duct(nx=4, ny=3), fem.generate.duct(nx=3, ny=4)
    wanted = symbolic.compute_sparsity(mesh)
    pattern_cache.store(other, symbolic.compute_sparsity(other))
    (entry,) = pattern_cache.folder().iterdir()
    entry.rename(entry.with_name(f"{mesh.fingerprint}.bin"))
    assert pattern_cache.load(mesh) is None
    assert "another fingerprint" in caplog.text
    pattern_cache.store(mesh, wanted)
    assert np.array_equal(pattern_cache.load(mesh).slots, wanted.slots)


def test_an_entry_that_vanishes_while_it_is_read_is_not_made_anew(computed, monkeypatch):
    mesh = fem.generate.duct(nx=4, ny=3)
    pattern_cache.store(mesh, symbolic.compute_sparsity(mesh))
    (entry,) = pattern_cache.folder().iterdir()
    misfit = pattern_cache.fault_in
    monkeypatch.setattr(pattern_cache, "fault_in", lambda *both: entry.unlink() or misfit(*both))
    assert pattern_cache.load(mesh) is not None
    assert not entry.exists()


def test_temporary_files_count_and_old_ones_go(computed, monkeypatch):
    meshes = [fem.generate.duct(nx=10, ny=n) for n in (10, 11)]
    sizes = [pattern_cache._bytes(mesh, symbolic.compute_sparsity(mesh).nnz) for mesh in meshes]
    monkeypatch.setenv("FEM_CACHE_MB", str((sum(sizes) + 1000) / 1e6))
    fem.assemble_system(meshes[0])
    young, old = (pattern_cache.folder() / f".{name}.bin.0123456789ab.tmp" for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(bytes(2000))
    os.utime(old, (1, 1))
    fem.assemble_system(meshes[1])
    assert sorted(pattern_cache.folder().iterdir()) == sorted([young, pattern_cache._place(meshes[1])])


def test_the_cache_stays_below_its_limit_and_drops_the_oldest(computed, monkeypatch):
    meshes = [fem.generate.duct(nx=10, ny=n) for n in (10, 11, 12)]
    monkeypatch.setenv("FEM_CACHE_MB", "0.1")
    for mesh in meshes:
        fem.assemble_system(mesh)
    kept = list(pattern_cache.folder().iterdir())
    assert sum(path.stat().st_size for path in kept) <= 1e5
    assert pattern_cache.load(meshes[-1]) is not None
    assert pattern_cache.load(meshes[0]) is None


def test_a_folder_that_cannot_be_written_is_no_error(computed, tmp_path):
    (tmp_path / "sparsity").write_text("a file where the folder should be")
    assert fem.assemble_system(fem.generate.duct(nx=2, ny=2)).n_nodes == 21


def test_a_limit_that_is_no_number_switches_it_off(computed, monkeypatch, caplog):
    monkeypatch.setenv("FEM_CACHE_MB", "lots")
    fem.assemble_system(fem.generate.duct(nx=2, ny=2))
    assert "lots" in caplog.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: {"slots": np.zeros_like(s.slots)},
        lambda s: {"slots": s.slots.astype(np.int16)},
        lambda s: {"indices": np.roll(s.indices, 1)},
        lambda s: {"indptr": s.indptr[::-1]},
        lambda s: {"indptr": s.indptr[:-1]},
    ],
)
def test_an_entry_that_belongs_elsewhere_is_computed_again(computed, spoil):
    # Readable, and wrong: it would lead to another matrix without a word.
    mesh = fem.generate.duct(nx=4, ny=3)
    wanted = fem.assemble_system(mesh).matrix
    right = fem.compute_sparsity(mesh)
    arrays = {"indptr": right.indptr, "slots": right.slots, "indices": right.indices, **spoil(right)}
    (entry,) = pattern_cache.folder().iterdir()
    entry.write_bytes(mesh.fingerprint.encode() + b"".join(array.tobytes() for array in arrays.values()))
    found = fem.assemble_system(mesh).matrix
    assert len(computed) == 2
    assert np.array_equal(found.data, wanted.data)


def test_an_entry_with_orphan_nodes_is_found_again(computed, real_mesh):
    mesh = real_mesh("venturi_341")
    fem.assemble_system(mesh)
    fem.assemble_system(mesh)
    assert len(computed) == 1
