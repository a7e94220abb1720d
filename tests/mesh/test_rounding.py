"""Warnings where rounding limits the accuracy: where the error comes, and how large it is."""

import re
from dataclasses import replace

import pytest
from fem_core import Mesh, Problem, check_mesh, solve
from fem_core.generate import SHAPES, duct
from fem_core.mesh.geometry import validate_mesh


def slivers(height: float = 1.0, offset: float = 0.0) -> Mesh:
    """A duct of 3 m with elements 0.15 m long and a tenth of `height` thick."""
    mesh = duct(nx=20, ny=10)
    return replace(mesh, x=mesh.x + offset, y=height * mesh.y + offset)


def error_of(mesh: Mesh) -> float:
    """Of the speed, which is 2.5 m/s everywhere: the largest relative one."""
    speed = solve(mesh, Problem.potential_flow(mesh, dirichlet="eliminate"), backend="numpy", solver="direct").speed
    return float(abs(speed / 2.5 - 1).max())


@pytest.mark.parametrize(("height", "offset"), [(1.0, 0.0), (1.0, 1e6), (1e-2, 0.0), (1e-2, 1e6)])
def test_accurate_meshes_have_no_warning(height, offset):
    mesh = slivers(height, offset)
    assert validate_mesh(mesh) is mesh
    assert error_of(mesh) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_no_warning(shape):
    assert validate_mesh(SHAPES[shape](nodes=2_000)).warnings == ()


@pytest.mark.parametrize(
    ("height", "offset", "told", "way"),
    [
        (1e-2, 1e9, 2e-4, r"coordinates of up to 1e\+09 m .* 0.001 m thick: .*; move the mesh to the origin$"),
        (1e-5, 0.0, 2e-3, r"^rounding beside .* 1e-06 m thick, in a mesh of 3 m: .*; use thicker elements there$"),
    ],
)
def test_a_warning_tells_the_size_of_the_error(height, offset, told, way):
    # Within a factor of thirty: two backends that round differently differ by so much.
    mesh = slivers(height, offset)
    (warning,) = validate_mesh(mesh).warnings
    assert re.search(way, warning)
    assert f"results may be wrong by {told:.0e} of their size" in warning
    assert told / 30 < error_of(mesh) < 30 * told


def test_the_warning_is_in_every_report_once():
    mesh = slivers(1e-2, 1e9)
    checked = validate_mesh(mesh)
    assert validate_mesh(mesh) is validate_mesh(checked) is checked
    again = validate_mesh(replace(checked, y=checked.y.copy()))
    assert again.warnings == checked.warnings
    report = solve(mesh, backend="numpy", solver="direct").report
    assert sum("move the mesh to the origin" in warning for warning in report.warnings) == 1
    assert any("move the mesh to the origin" in warning for warning in check_mesh(mesh).warnings)
