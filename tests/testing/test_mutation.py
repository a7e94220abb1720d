"""The score of the kit: the operators that make mutants, and a sample of mutants, each caught by the kit alone."""

import ast
import os
import re
import subprocess
import sys

import pytest
from mutation.copies import source
from mutation.operators import mutants, mutated
from mutation.survivors import SURVIVORS, Survivors
from mutation.trials import VARIANTS
from places import ROOT

pytest.importorskip("fem_threads", reason="fem-threads isn't installed")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("y = a + b", ["y = a - b"]),
        ("y = a @ b", ["y = b @ a"]),
        ("y = -a", ["y = a"]),
        ("y = a < b", ["y = a <= b"]),
        ("y = a and b", ["y = a or b"]),
        ("y = 3", ["y = 4", "y = 2", "y = 0"]),
        ("y = 0.5", ["y = 1.5", "y = -0.5", "y = 0"]),
        ("y = a[i:j]", ["y = a[i + 1:j]", "y = a[i:j - 1]"]),
        ("y = a[:]", ["y = a[1:]", "y = a[:-1]"]),
        ("y = a[i, j]", ["y = a[j, i]"]),
        ("y = a.T", ["y = a"]),
        ("y = a.copy()", ["y = a"]),
        ("y = np.float64", ["y = np.float32"]),
        ("y = np.zeros(n)", ["y = np.zeros(n, dtype=np.float32)"]),
        ("y = np.einsum('ij,jk->ik', a, b)", ["y = np.einsum('ij,jk->ki', a, b)"]),
        ("y = f(a, b)", ["y = f(b, a)"]),
        ("y = max(a, b)", []),
        ("y += a", ["y -= a", "pass"]),
        ("y[i] = a", ["pass"]),
        ("f(a)", ["pass"]),
        ("if a < b:\n    f()", ["if not a < b:\n    f()", "if a <= b:\n    f()", "if a < b:\n    pass"]),
        ('raise ValueError(f"{a + b}")', []),
        ("x: TypeAlias = dict[str, int]", []),
        ("def f(a: int | None = None) -> int | None:\n    return a", []),
    ],
)
def test_operators_make_each_single_change(text, wanted):
    found = [ast.unparse(mutated(text, mutant.number)) for mutant in mutants("m", text)]
    assert found == wanted


def test_keys_are_unique_and_hold_no_line_number():
    text = "def f(a):\n    return a + 1 + 1\n"
    keys = [mutant.key for mutant in mutants("m", text)]
    assert len(set(keys)) == len(keys)
    assert keys == [mutant.key for mutant in mutants("m", f"# a comment\n{text}")]


@pytest.mark.parametrize("module", VARIANTS)
def test_every_listed_survivor_is_made(module):
    survivors = Survivors.read(SURVIVORS)
    assert not survivors.unknown(module, mutants(module, source(module), survivors.left_out(module)))


#: One for each operator, on each module; all are caught by checks that take a second or two.
SAMPLE = (
    "element_stiffness: M[:, 1] = -w * (x_ξ * x_η + y_ξ * y_η)  [-w → w]",
    "element_stiffness: M = np.empty((len(x), 3, 9))  [np.empty((len(x), 3, 9)) → np.empty((len(x), 3, 9), dtype=np.f",
    "element_load: return _product(w * _product(s, _N), q8.N_3X3)[:n]  [:n → 1:n]",
    "_mean4: mean: Floats = 0.25 * (a[:, 0] + a[:, 1] + a[:, 2] + a[:, 3])  [0.25 → 1.25]",
    "derived: outputs['velocity'][here], outputs['speed'][here] = element_derived(x[nodes], y[nodes],…  [element_der",
    "load: outputs['fe'][here] = element_load(x[nodes], y[nodes], s[elements])  [outputs['fe'][here] = element_load(x[",
    "compute_sparsity: slot -= 1  [slot -= 1 → slot += 1]",
    "_with_orphans: if not len(orphans):  [not len(orphans) → len(orphans)]",
    "apply_conditions: rhs[fixed] = 0  [rhs[fixed] = 0 → pass]",
    "apply_conditions: values[diagonal] += PENALTY  [values[diagonal] += PENALTY → values[diagonal] -= PENALTY]",
    "[K.data.copy() → K.data]",
    "_Iteration.advance: self.p += z  [self.p += z → self.p -= z]",
)


def test_the_kit_alone_catches_a_sample_of_mutants():
    # In a process of its own, which forks: this one has threads.
    command = [sys.executable, str(ROOT / "tests" / "mutation"), "--jobs", "2", "--module", "fem_core"]
    command += [word for text in SAMPLE for word in ("--only", text)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env={**os.environ, "FEM_TUNE": "off"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^all +12 +0 +12 +100\.0%$", done.stdout, re.MULTILINE), done.stdout
