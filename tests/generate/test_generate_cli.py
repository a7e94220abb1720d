"""`fem mesh SHAPE`: every parameter is explained with its unit, angles may be in degrees, mistakes are one line."""

import math
import re
import time
from inspect import signature

import fem_core as fem
import numpy as np
import pytest
from click.testing import CliRunner, Result
from fem_core.cli import fem as group

shapes = pytest.mark.parametrize("shape", fem.generate.SHAPES)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


@shapes
def test_every_parameter_is_explained_with_its_unit(shape):
    text = run("mesh", shape, "--help").output
    options = dict(re.findall(r"^  --([a-z-]+) \S+(.*?)(?=^  -|\Z)", text, re.MULTILINE | re.DOTALL))
    for name in signature(fem.generate.SHAPES[shape]).parameters:
        said = " ".join(options[name.replace("_", "-")].split())
        assert re.search(r"in metres|in radians|[Nn]umber of|Direction|divided by|0\.01 to 100", said), (name, said)


@pytest.mark.parametrize("angle", ["60deg", "60°", "1.0471975511965976", str(math.pi / 3)])
def test_angles_are_radians_or_degrees(angle, tmp_path):
    assert run("mesh", "elbow", "--angle", angle, "--across", 3, "-o", tmp_path / "mesh.h5").exit_code == 0
    mesh, same = fem.read_mesh(tmp_path / "mesh.h5"), fem.generate.elbow(angle=math.pi / 3, across=3)
    np.testing.assert_allclose([mesh.x, mesh.y], [same.x, same.y], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["elbow", "--angle", "90"], "angle must be between 0.01 and 3.14159 (radians), not 90.0"),
        (["elbow", "--angle", "steep"], "'steep' is not an angle; give radians (0.5) or degrees (30deg)"),
        (["cylindr"], "there is no shape 'cylindr' (did you mean cylinder?); shapes: duct, elbow"),
        (["cylinder", "--radius", "1"], "No such option"),
        (["venturi", "--throat", "2"], "throat must be between 0.05 and 0.99 (0.05 to 0.99 widths), not 2.0"),
        (["venturi", "--across", "2", "--nodes", "500"], "nodes must be omitted if across is given, not 500"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(arguments, message, tmp_path):
    result = run("mesh", *arguments, "-o", tmp_path / "mesh.h5")
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_a_million_nodes_are_written(tmp_path):
    file = tmp_path / "mesh.h5"
    result = run("mesh", "t-junction", "--nodes", "1_358_000", "-o", file)
    assert result.exit_code == 0
    assert fem.read_mesh(file).n_nodes == pytest.approx(1_358_000, rel=2e-3)


@shapes
def test_a_million_nodes_take_seconds(shape):
    # Some 0.1 to 0.3 s each on one core without other work; a loop over elements would take minutes.
    start = time.perf_counter()
    assert fem.generate.SHAPES[shape](nodes=1_358_000).n_nodes == pytest.approx(1_358_000, rel=2e-3)
    assert time.perf_counter() - start < 10
