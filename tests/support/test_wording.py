"""Messages speak of one thing in the singular, and of thousands without listing them."""

import json
import re

import fem_core as fem
import numpy as np
from click.testing import CliRunner
from fem_core.cli import fem as group
from fem_core.support.wording import count, name_some, verb
from fem_core.tools.mesh_check import check_mesh
from meshes import squares


def test_counts():
    assert count(1, "edge") == "1 edge"
    assert count(0, "edge") == "0 edges"
    assert count(1200, "orphan node") == "1,200 orphan nodes"
    assert [count(n, "node", "belong") for n in (1, 2)] == ["1 node belongs", "2 nodes belong"]


def test_messages_name_the_first_few():
    # A message must not list thousands of elements.
    assert name_some(np.arange(5)) == "0, 1, 2, 3, 4"
    assert name_some(np.arange(214)) == "0, 1, 2, 3, 4, … (214 in all)"
    assert name_some(np.array([7]), "element", "are") == "element 7 is"
    assert name_some(np.array([7, 9]), "element", "have") == "elements 7, 9 have"


def test_verbs():
    assert [verb(1, plural) for plural in ("are", "have", "lie")] == ["is", "has", "lies"]
    assert verb(2, "lie") == "lie"


def test_a_mesh_of_one_element_is_spoken_of_in_the_singular(tmp_path):
    # One element, one orphan, one edge at each end, one iteration: whatever is said of them.
    one = squares(1)
    given = fem.Mesh([*one.x, 5.0], [*one.y, 0.0], one.quad8[:, [0, 3, 2, 1, 7, 6, 5, 4]], source="one.h5")
    path = fem.write_mesh(given, tmp_path / "one.h5")
    solution = fem.solve(path, backend="numpy", solver="cg", maxiter=1)
    said = [repr(given), repr(solution), *solution.report.warnings, *check_mesh(path).warnings]
    for command in (
        ["check", str(path)],
        ["solve", str(path), "--backend", "numpy", "--solver", "cg", "--maxiter", "1"],
    ):
        said.append(CliRunner().invoke(group, command).output)
    text = " ".join(json.dumps(said, ensure_ascii=False).split())
    assert "1 node belongs to no element and is fixed at 0" in text
    assert "the only element was clockwise and has been reversed" in text
    assert "after 1 iteration," in text
    assert re.findall(r"\b1 (?:\w+ )?(?:nodes|elements|edges|iterations|faults)\b", text) == []
