"""`fem check`: what it says of good and bad meshes, what it repairs, how it ends."""

import json
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import h5py
import numpy as np
import pytest
from commands import run
from fem_core.mesh import quad8 as q8
from fem_core.tools.mesh_check import check_mesh
from meshes import distorted, renumbered, squares, torn_apart, two_parts


def store(mesh: fem.Mesh, path: Path, boundaries: bool = False) -> Path:
    """The file of a mesh that may be anything; without its boundaries unless told so."""
    with h5py.File(path, "w") as file:
        for name in ("x", "y", "quad8"):
            file[name] = getattr(mesh, name)
        for name, boundary in mesh.boundaries.items() if boundaries else ():
            group = file.create_group(f"boundaries/{name}")
            group["edges"], group["nodes"] = boundary.edges, boundary.nodes
    return path


@pytest.fixture
def tube(tmp_path: Path) -> Path:
    return fem.write_mesh(fem.generate.y_tube(nodes=2000), tmp_path / "tube.h5")


def wrong_in_every_way() -> fem.Mesh:
    """A node that isn't there, one named twice, one at NaN, a clockwise element, two folded ones."""
    mesh = distorted(10, 6, seed=1, width=2.0)
    x, quad8 = mesh.x.copy(), mesh.quad8.copy()
    quad8[3, 2] = 9999
    quad8[17, 5] = quad8[17, 1]
    x[quad8[40, 6]] = np.nan
    quad8[25] = quad8[25][q8.REVERSED]
    x[quad8[52, 2]] -= 0.6
    return replace(mesh, x=x, quad8=quad8, boundaries={})


# good meshes


def test_a_good_mesh_can_be_solved(tube):
    result = run("check", tube)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    for said in (
        "2,015 nodes, 620 elements",
        "all elements are connected",
        "inlet",
        "the mesh",
        "jacobian",
        "direct",
        "are available",
    ):
        assert said in result.stdout, result.stdout
    assert lines[-1] == f"{tube} can be solved, in a moment:  fem solve {tube}"
    assert max(map(len, lines[:-1])) <= 100


def test_the_last_line_is_a_command_that_works(tube):
    last = run("check", tube).stdout.splitlines()[-1]
    assert run(*last.split("  fem ")[1].split()).exit_code == 0


def test_json(tube):
    result = run("check", tube, "--json")
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    mesh = fem.read_mesh(tube)
    assert found["solvable"] is True
    assert found["faults"] == found["warnings"] == found["mending"] == found["done"] == []
    assert found["mesh"]["nodes"] == mesh.n_nodes
    assert found["mesh"]["elements"] == mesh.n_elements
    assert found["components"] == [{"elements": mesh.n_elements, "first_element": 0}]
    assert {one["name"]: one["named_by"] for one in found["boundaries"]} == dict.fromkeys(mesh.boundaries, "the mesh")
    assert set(found["quality"]) == {"jacobian", "aspect", "skew"}
    assert {"cg", "direct"} <= set(found["costs"])
    assert found["costs"]["cg"]["iterations"] > 0
    assert found["memory_available"] > 0


def test_figures_are_those_of_the_mesh(tmp_path):
    file = store(squares(6, 4, width=3.0), tmp_path / "m.h5")
    found = json.loads(run("check", file, "--json").stdout)
    assert found["mesh"]["x"] == [0.0, 3.0]
    assert found["mesh"]["area"] == pytest.approx(3.0)
    boundaries = {one["name"]: one for one in found["boundaries"]}
    assert boundaries["inlet"] == {
        "name": "inlet", "named_by": "position", "edges": 4, "nodes": 9, "length": pytest.approx(1.0),
        "x": [0.0, 0.0], "y": [0.0, 1.0],
    }  # fmt: skip
    assert boundaries["walls"]["length"] == pytest.approx(6.0)
    assert found["quality"]["aspect"]["worst"] == pytest.approx(2.0)


def test_orphan_nodes_and_clockwise_meshes_are_mentioned(tmp_path):
    mesh, _, _ = renumbered(squares(4), orphans=3)
    file = store(replace(mesh, quad8=mesh.quad8[:, q8.REVERSED]), tmp_path / "m.h5")
    result = run("check", file)
    assert result.exit_code == 0
    assert "; 3 orphan nodes belong to no element" in result.stdout
    assert "warning: all 16 elements were clockwise and have been reversed" in result.stdout


def test_real_meshes(real_mesh):
    # The published ones have orphan nodes, outlet nodes just off the side, and one has elements folded at a corner.
    found = check_mesh(real_mesh("y_tube_201"))
    assert found.solvable
    assert any("a boundary tolerance of 2.4e-06 includes them" in line for line in found.warnings)
    found = check_mesh(real_mesh("s_bend_387"))
    assert found.solvable
    assert found.orphan_nodes == 78
    assert any(line.startswith("elements 2, 5 are folded at a corner") for line in found.warnings)


def test_warnings_about_boundaries():
    mesh = squares(4)
    inlet, outlet = mesh.boundaries["inlet"], mesh.boundaries["outlet"]
    inside = fem.Boundary.from_edges(mesh.quad8[:1, [1, 5, 2]])
    named = replace(mesh, boundaries={"inlet": inside, "outlet": outlet, "walls": inlet})
    said = "\n".join(check_mesh(named).warnings)
    assert "8 exterior edges are in no boundary" in said
    assert "1 edge of the boundary 'inlet' lies inside the mesh" in said
    ring = fem.generate.annulus(nodes=500, angle=1.0)
    point = check_mesh(replace(ring, boundaries={}))
    assert any("of the outlet is on none of its edges" in line for line in point.warnings)


def test_nodes_that_nearly_coincide_are_warned_about():
    apart = replace(torn_apart(squares(4, 2, width=2.0), 1.0, shift=1e-10), boundaries={})
    found = check_mesh(apart)
    assert any("pairs of nodes nearly coincide" in line for line in found.warnings)
    assert len(found.components()) == 2


@pytest.mark.parametrize("scale", [1e160, 1e-160])
def test_coordinates_out_of_range_are_a_fault_and_no_crash(scale, tmp_path):
    mesh = squares(2)
    file = store(replace(mesh, x=scale * mesh.x, y=scale * mesh.y), tmp_path / "m.h5")
    result = run("check", file)
    assert (result.exit_code, result.stderr) == (2, "")
    last = f"{file} can't be solved: elements 0, 1, 2, 3 are too {'large' if scale > 1 else 'small'} for floating-point"
    assert result.stdout.splitlines()[-1].startswith(last)


def test_poor_elements_are_counted_and_named():
    # 25 : 1, and one with a mid-side almost at the quarter point.
    mesh = squares(25, 4, width=250.0)
    found = check_mesh(mesh)
    assert any(line.startswith("100 of 100 elements are poor: 0, 1, 2") for line in found.warnings)
    assert found.solvable


# bad meshes: everything is said, the exit status is 2


def test_all_faults_are_listed(tmp_path):
    file = store(wrong_in_every_way(), tmp_path / "bad.h5")
    result = run("check", file)
    assert (result.exit_code, result.stderr) == (2, "")
    faults = [line for line in result.stdout.splitlines() if line.startswith("fault: ")]
    assert [line.split(" ")[1:3] for line in faults] == [
        ["element", "3"],
        ["element", "17"],
        ["node", "161"],
        ["det", "J"],
    ]
    assert "elements 25, 52, 53: 1 clockwise" in faults[3]
    assert "60 elements" in result.stdout
    assert "jacobian" in result.stdout  # what can be said of the others is said
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"{file} can't be solved: element 3 refers to nodes outside 0…212 (found 0…9999)")
    assert last.endswith(" (and 3 more)")


def test_faults_as_json_name_their_elements_and_nodes(tmp_path):
    found = json.loads(run("check", store(wrong_in_every_way(), tmp_path / "bad.h5"), "--json").stdout)
    assert [fault["elements"] for fault in found["faults"]] == [[3], [17], [40, 50], [25, 52, 53]]
    assert found["faults"][2]["nodes"] == [161]
    assert found["solvable"] is False
    assert found["costs"] == {}


def test_of_a_mesh_counted_from_1_nothing_else_is_said():
    mesh = squares(3)
    (fault,) = check_mesh(replace(mesh, quad8=mesh.quad8 + 1, boundaries={})).faults
    assert fault.text.endswith("node numbers start at 0, but these seem to start at 1")


def test_validation_says_the_first_of_them():
    bad = wrong_in_every_way()
    first = check_mesh(bad).faults[0]
    with pytest.raises(fem.MeshError) as refused:
        fem.validate_mesh(bad)
    assert str(refused.value) == f"mesh: {first.text}; 3 more faults: fem check lists all"


@pytest.mark.parametrize(
    ("mesh", "last"),
    [
        (fem.Mesh([0.0], [0.0], np.empty((0, 8), int)), "the mesh has no elements"),
        (
            fem.Mesh(np.zeros(3), np.zeros(3), np.full((2, 8), 7)),
            "elements 0, 1 refer to nodes outside 0…2 (found 7…7)",
        ),
        (two_parts(), "no condition fixes the level of u in 1 of 2 connected parts of the mesh (elements 0, 1, 2, 3)"),
        (replace(squares(2), x=squares(2).x * np.nan), "have NaN or infinite coordinates"),
        (replace(squares(2), y=0 * squares(2).y), "coincide; merge them"),
    ],
)
def test_other_faults(mesh, last, tmp_path):
    result = run("check", store(mesh, tmp_path / "bad.h5"))
    assert result.exit_code == 2, result.output
    assert last in result.stdout.splitlines()[-1]
    json.loads(run("check", tmp_path / "bad.h5", "--json").stdout, parse_constant=pytest.fail)


def test_a_boundary_without_edges_is_a_fault(tmp_path):
    # A corner at the least x: no edge lies there, and both conditions are looked at.
    mesh = squares(3)
    c = 0.5**0.5
    turned = replace(mesh, x=c * (mesh.x - mesh.y), y=c * (mesh.x + mesh.y), boundaries={})
    result = run("check", store(turned, tmp_path / "m.h5"))
    assert result.exit_code == 2
    assert "boundary 'inlet' has no edges for a Robin condition" in result.stdout.splitlines()[-1]
    empty = replace(mesh, boundaries={name: fem.Boundary([], []) for name in ("inlet", "outlet", "walls")})
    assert [fault.text.split(" has ")[0] for fault in check_mesh(empty).faults] == [
        "boundary 'inlet'",
        "boundary 'outlet'",
    ]


def test_too_little_memory_is_a_fault(tube, monkeypatch):
    monkeypatch.setattr("fem_core.tools.mesh_check.available_memory", lambda: 10_000_000)
    result = run("check", tube)
    assert result.exit_code == 2
    assert "MB of memory, but 10 MB are available; use a coarser mesh" in result.stdout


def test_a_solver_that_does_not_fit_is_not_proposed(tube, monkeypatch):
    costs = json.loads(run("check", tube, "--json").stdout)["costs"]
    between = (costs["cg"]["memory"] + costs["direct"]["memory"]) / 2
    assert costs["cg"]["memory"] < between < costs["direct"]["memory"]
    monkeypatch.setattr("fem_core.tools.mesh_check.available_memory", lambda: int(between))
    result = run("check", tube)
    assert result.stdout.splitlines()[-1].endswith("--solver mg")
    assert "more than is available" in result.stdout


def test_files_that_are_no_mesh_are_one_line(tmp_path):
    file = tmp_path / "m.h5"
    file.write_text("not HDF5")
    for path, said in (
        (file, "not a readable HDF5 file"),
        (tmp_path / "no.h5", "doesn't exist"),
        ("m.xyz", "known: .h5"),
    ):
        result = run("check", path)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert said in result.stderr


def test_parts_that_nearly_touch_are_repaired(tmp_path):
    # No two nodes coincide exactly, so the mesh is valid; but no flow gets from one part to the other.
    apart = replace(torn_apart(squares(4, 2, width=2.0), 1.0, shift=1e-10), boundaries={})
    last = run("check", store(apart, tmp_path / "m.h5")).stdout.splitlines()[-1]
    assert "no condition fixes the level of u in 1 of 2 connected parts" in last
    assert run(*last.split("to repair it:  fem ")[1].split()).exit_code == 0


def test_the_proposed_command_has_the_tolerances_of_this_one(tmp_path):
    # With another tolerance it would be another problem.
    apart = replace(torn_apart(squares(4, 2, width=2.0), 1.0, shift=1e-7), boundaries={})
    bad = store(apart, tmp_path / "m.h5")
    given = ("--boundary-tolerance", "0.0001", "--merge-tolerance", "1e-06")
    assert "to repair it" not in run("check", bad).stdout
    proposed = run("check", bad, *given).stdout.splitlines()[-1].split("to repair it:  fem ")[1].split()
    repaired = tmp_path / "m-repaired.h5"
    assert proposed == ["check", str(bad), *given[:2], "--fix", *given[2:], "-o", str(repaired)]
    last = run(*proposed).stdout.splitlines()[-1]
    assert last == f"{repaired} can be solved, in a moment:  fem solve {repaired} --boundary-tolerance 0.0001"


# --fix


def test_fix_repairs_and_says_what_it_did(tmp_path):
    whole = squares(6, 3, width=2.0)
    broken, _, _ = renumbered(torn_apart(whole, 1.0), seed=2, orphans=4)
    turned = np.arange(18) % 3 == 0
    broken = replace(broken, quad8=np.where(turned[:, None], broken.quad8[:, q8.REVERSED], broken.quad8))
    bad, good = store(broken, tmp_path / "bad.h5", boundaries=True), tmp_path / "good.h5"
    before = bad.read_bytes()
    proposed = run("check", bad).stdout.splitlines()[-1].split("to repair it:  fem ")[1].split()
    assert proposed == ["check", str(bad), "--fix", "-o", str(tmp_path / "bad-repaired.h5")]
    result = run("check", bad, "--fix", "-o", good)
    assert result.exit_code == 0, result.output
    done = [line.removeprefix("repaired: ") for line in result.stdout.splitlines() if line.startswith("repaired: ")]
    assert done == [
        "removed 70 nodes that belong to no element",
        "merged 7 nodes with others at the same place",
        "removed 6 edges from boundary 'walls' (now inside the mesh)",
        "reversed 6 elements that were clockwise",
    ]
    assert result.stdout.splitlines()[-1].startswith(f"{good} can be solved")
    repaired = fem.read_mesh(good)
    assert repaired.n_nodes == whole.n_nodes
    for name, boundary in whole.boundaries.items():
        assert len(repaired.boundaries[name].edges) == len(boundary.edges)
    assert run("check", good).exit_code == 0
    assert bad.read_bytes() == before


def test_fix_as_json(tmp_path):
    mesh, _, _ = renumbered(squares(3), orphans=1)
    file = store(mesh, tmp_path / "m.h5")
    found = json.loads(run("check", file, "--fix", "-o", tmp_path / "n.h5", "--json").stdout)
    assert found["done"] == ["removed 1 node that belongs to no element"]
    assert found["mesh"]["orphan_nodes"] == 0


def test_what_cannot_be_repaired_writes_nothing(tmp_path):
    folded = squares(3)
    x = folded.x.copy()
    x[folded.quad8[4, 2]] -= 0.5
    for mesh, said in (
        (wrong_in_every_way(), "this can't be repaired"),
        (replace(folded, x=x), "not repaired, nothing written: det J <= 0"),
        (two_parts(), "not repaired, nothing written: no condition fixes the level of u"),
    ):
        bad = store(mesh, tmp_path / "bad.h5")
        result = run("check", bad, "--fix", "-o", tmp_path / "good.h5")
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert said in result.stderr
        assert "to repair it" not in run("check", bad).stdout
        assert [path.name for path in tmp_path.iterdir()] == ["bad.h5"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fix"], "--fix and -o FILE must be given together"),
        (["-o", "x.h5"], "--fix and -o FILE must be given together"),
        (["--fix", "-o", "{mesh}"], "this would overwrite the input file"),
        (["--fix", "-o", "x.vtx"], "unknown ending"),
        (["--fix", "-o", "no/x.h5"], "doesn't exist"),
        (["--fix", "-o", "{folder}/x.h5", "--merge-tolerance", "1"], "must be a number from 0 to 0.001"),
        (["--boundary-tolerance", "7"], "must be a number from 0 to 0.1"),
        (["--plot", "x.gif"], ".png or .svg"),
        (["--plot", "no/x.png"], "doesn't exist"),
    ],
)
def test_mistakes_are_one_line(arguments, said, tube, tmp_path):
    before = tube.read_bytes()
    result = run("check", tube, *(one.format(mesh=tube, folder=tmp_path) for one in arguments))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said in result.stderr
    assert tube.read_bytes() == before


# pictures


def test_pictures_of_good_and_bad_meshes(tube, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    empty = fem.Mesh([0.0], [0.0], np.empty((0, 8), int))
    files = {
        "good": (tube, 0),
        "bad": (store(wrong_in_every_way(), tmp_path / "bad.h5"), 2),
        "apart": (store(replace(two_parts(), x=np.minimum(two_parts().x, 2.9)), tmp_path / "apart.h5"), 2),
        "empty": (store(empty, tmp_path / "empty.h5"), 2),
        "small": (store(squares(1), tmp_path / "small.h5"), 0),
    }
    for name, (file, status) in files.items():
        for ending in ("png", "svg"):
            picture = tmp_path / f"{name}.{ending}"
            result = run("check", file, "--plot", picture)
            assert result.exit_code == status, result.output
            assert f"wrote {picture}" in result.stdout
        pixels = image.imread(tmp_path / f"{name}.png")
        assert pixels.shape[1] == 1800
        assert "inlet" in (tmp_path / f"{name}.svg").read_text() or name == "empty"


def test_the_worst_element_is_seen_among_many(tmp_path):
    # One poor element among 32,400 is red in its pixel, however small it is.
    image = pytest.importorskip("matplotlib.image")
    mesh = squares(180)
    x = mesh.x.copy()
    x[mesh.quad8[16_290, 4]] -= 0.49 / 180
    found = check_mesh(replace(mesh, x=x))
    assert found.quality.worst("jacobian", 2).tolist() == [16_110, 16_290]
    from fem_core.plot.mesh import plot_mesh

    pixels = image.imread(plot_mesh(found, tmp_path / "m.png"))[..., :3]
    upper = pixels[: pixels.shape[0] * 2 // 3, : pixels.shape[1] * 4 // 5]
    red = (upper[..., 0] > 0.7) & (upper[..., 1] < 0.4)
    assert 0 < np.count_nonzero(red) < 400


def test_each_element_reaches_the_raster():
    # No holes where elements are larger or smaller than pixels, nothing where there are none.
    from fem_core.plot.raster import greatest

    for n, pixel in ((3, 0.01), (60, 0.02), (200, 0.1)):
        found = check_mesh(distorted(n, n, seed=1))
        size = round(1.5 / pixel), round(1 / pixel)
        image = greatest(found.mesh, found.quality.badness, np.zeros(2), pixel, *size)
        inside = round(1 / pixel)
        assert np.isfinite(image[:, :inside]).all()
        assert np.isnan(image[:, inside + 1 :]).all()
        assert np.nanmax(image) == found.quality.badness.max()
