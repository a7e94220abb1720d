"""Which matrix a prepared solver belongs to, and that one is kept at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
from fem_core.generate import duct
from fem_core.plugins import SolverOptions
from fem_core.solvers.prepared import LastPrepared, key_of, probe
from scipy import sparse

MESH, OPTIONS, FIXED, K = duct(nx=4, ny=2), SolverOptions(method="cg"), np.array([0, 3], np.int32), sparse.eye_array(5)


def test_it_is_made_anew_only_for_another_key():
    last, made = LastPrepared(), []
    for key in ("one", "one", "other", "one"):
        last.get(key, lambda: made.append(SimpleNamespace()) or made[-1])
    assert len(made) == 3
    assert last.get("one", pytest.fail) is made[-1]
    last.forget()
    last.get("one", lambda: made.append(SimpleNamespace()) or made[-1])
    assert len(made) == 4


def test_the_old_one_is_gone_before_its_successor_is_made():
    # Two factorisations may not fit into memory side by side; and a failure leaves nothing stale.
    last = LastPrepared()
    last.get("old", SimpleNamespace)

    def fails():
        assert last._kept is None
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        last.get("new", fails)
    assert last._kept is None


def test_the_key_is_of_everything_that_a_prepared_solver_depends_on():
    keys = {
        key_of(MESH, OPTIONS, FIXED, probe(K)),
        key_of(duct(nx=2, ny=4), OPTIONS, FIXED, probe(K)),
        key_of(MESH, SolverOptions(method="mg"), FIXED, probe(K)),
        key_of(MESH, SolverOptions(method="cg", extra={"degree": 3}), FIXED, probe(K)),
        key_of(MESH, OPTIONS, FIXED[:1], probe(K)),
        key_of(MESH, OPTIONS, FIXED, probe(K * (1 + 1e-14))),
    }
    assert len(keys) == 6
    assert key_of(duct(nx=4, ny=2), SolverOptions(rtol=1e-3), FIXED.copy(), probe(K.copy())) in keys
