"""The examples: each runs, prints its result, and the physics is right."""

import ast
import importlib.util
from collections.abc import Callable
from math import exp, log, pi, sqrt
from typing import Any

import numpy as np
import pytest
from places import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("ex*.py"))
CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {}


def check(function: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Registers what is asserted of the example of this name."""
    CHECKS[function.__name__] = function
    return function


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_example(file, capsys):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert capsys.readouterr().out == ""  # importing an example runs nothing
    CHECKS[file.stem](module.main())
    assert capsys.readouterr().out.strip()


def test_every_example_is_checked():
    assert {file.stem for file in EXAMPLES} == set(CHECKS)


def test_every_example_is_listed_by_its_first_line():
    listed = (EXAMPLES[0].parent / "README.md").read_text(encoding="utf-8")
    for file in EXAMPLES:
        title = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).splitlines()[0]
        assert f"| [{file.stem}]({file.name}) | {title.removesuffix('.')} |" in listed


@check
def ex01_channel(found):
    assert found == {
        "u": pytest.approx(7.5),
        "speed": pytest.approx(2.5),
        "pressure": pytest.approx(101328.8281 - 0.5 * 1.225 * 2.5**2),
    }


@check
def ex02_cylinder(found):
    assert found["speed / U"] == pytest.approx(2.0, rel=1e-3)
    assert found["error of speed"] < 2e-3
    assert found["error of u"] < 1e-4


@check
def ex03_nafems_t4(found):
    # The values published for 8-node quadrilaterals, to their last digit.
    printed = {mesh: f"{T:.3f}" for mesh, T in found.items()}
    assert printed == {"3x5": "17.895", "6x10": "18.794", "12x20": "18.272", "24x40": "18.254"}


@check
def ex04_flux_balance(found):
    assert found["in"] == pytest.approx(2.5, rel=1e-12)
    assert found["out"] == pytest.approx(found["in"], rel=1e-9)
    assert 0 < found["by the branch"] < found["in"]
    assert found["upper arm"] == pytest.approx(0.5, abs=1e-9)


@check
def ex05_convergence(found):
    assert found["squares"] == pytest.approx(3.0, abs=0.02)
    assert 2.0 < found["trapezoids"] < 2.8


@check
def ex06_layers(found):
    k = np.array([1.0, 50.0, 0.02, 3.0])
    assert found["along"] == pytest.approx(k.mean(), rel=1e-9)
    assert found["across"] == pytest.approx(1 / (1 / k).mean(), rel=1e-9)
    assert found["across"] < found["squares"] < found["along"]


@check
def ex07_annulus(found):
    assert found["order"] > 3.8
    assert found["error"] < 1e-6


@check
def ex08_bend(found):
    assert found["error"] < 1e-3
    assert found["spread"] < 1e-3
    # In the vortex c ln(r₂/r₁) is the flux, 2.5 m/s through a width of 1 m.
    assert found["c"] == pytest.approx(2.5 / np.log(2.0), rel=1e-3)


@check
def ex09_venturi(found):
    assert found["ratio"] == pytest.approx(2.0, rel=1e-3)
    assert found["drop"] == pytest.approx(found["expected drop"], rel=1e-3)


@check
def ex10_reentrant_corner(found):
    assert found["order"] == pytest.approx(2 / 3, abs=0.01)
    assert found["graded"] < found["error"] / 3


@check
def ex11_poisson(found):
    assert found["stiffness"] == pytest.approx(0.140577, abs=2e-6)
    assert found["stress"] == pytest.approx(0.675314, rel=1e-3)
    assert found["middle"] == pytest.approx(2 * 0.0736714, rel=1e-4)


@check
def ex12_compare_matrices(found):
    assert found["same pattern"]
    assert found["difference in ε"] < 50


@check
def ex13_parameter_study(found):
    assert found["error"] < 1e-9
    assert found["later"] < found["first"]  # no pattern, no factorisation


@check
def ex14_observer(found):
    assert found["stages"] == [
        "load_mesh", "compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived",
    ]  # fmt: skip
    assert found["heard"]
    assert [iteration for iteration, _ in found["report"][:3]] == [20, 40, 60]
    assert found["report"][-1][1] < 1e-7
    assert found["stopped"] == "the run was cancelled"


@check
def ex15_decaying_inflow(found):
    assert found["left"] == pytest.approx(exp(-pi), rel=0.02)
    assert found["error"] < 1e-5


@check
def ex16_mesh_by_hand(found):
    # Exact for legs without end; two squares change it by less than the extrapolation does.
    assert found["limit"] == pytest.approx(1 - 2 / pi * log(2), abs=3e-5)
    assert abs(found["fine"] - found["limit"]) < abs(found["coarse"] - found["limit"]) / 4


@check
def ex17_duality(found):
    lower, upper = found["lower"], found["upper"]
    assert np.all(np.diff(lower) > 0)
    assert np.all(np.diff(upper) < 0)
    assert np.all(lower < upper)
    assert sqrt(lower[-1] * upper[-1]) == pytest.approx(sqrt(lower[0] * upper[0]), rel=3e-4)
