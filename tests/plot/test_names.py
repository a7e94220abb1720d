"""Pictures of names and numbers of others: SVG is well-formed, and what can't be drawn is named."""

import os
import sys
from dataclasses import replace
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
import pytest
from commands import run
from fem_core import Dirichlet, FemError, Problem, Robin, generate, solve, write_mesh
from fem_core.support.wording import visible
from fem_core.tools.mesh_check import check_mesh

pytest.importorskip("matplotlib", reason="pictures need Matplotlib (the extra `plot`)")

from fem_core.plot.mesh import plot_mesh

NAMES = [
    "in\x1b[31mlet",
    "a&<b>'\"",
    "]]>",
    "$x$",
    "$\\frac$",
    "_hidden",
    "in\nlet",
    "\u202ein",
    "\ufffe",
    "中文",
    "a\\$b$c$",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_svg_is_well_formed_whatever_names_hold(tmp_path, name, recwarn):
    # Control characters made the file unreadable, and $\frac$ was taken for a formula.
    duct = generate.duct(length=3, nx=3, ny=1)
    boundaries = {**duct.boundaries, name: duct.boundaries["inlet"]}
    mesh = replace(duct, boundaries=boundaries, source=f"{name}\udcff.h5")
    solution = solve(mesh, Problem([Robin(name, 2.5, 0.0), Dirichlet("outlet", 0.0)]), backend="numpy", solver="direct")
    drawn = [solution.plot(tmp_path / "flow.svg", "potential"), plot_mesh(check_mesh(mesh), tmp_path / "mesh.svg")]
    for path in drawn:
        comments = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
        texts = [one.text or "" for one in ElementTree.parse(path, comments).iter() if one.tag is ElementTree.Comment]
        assert any(escape(visible(name)) in text for text in texts)
    assert not recwarn.list


@pytest.mark.skipif(sys.platform != "linux", reason="the names of files are Unicode there")
def test_pictures_of_files_whose_names_are_not_utf_8(tmp_path):
    path = tmp_path / os.fsdecode(b"m\xffsh.h5")
    write_mesh(generate.duct(nx=2, ny=1), path)
    picture, result = path.with_suffix(".svg"), path.with_name(path.stem + "-result.h5")
    assert run("solve", path, "--plot", picture, "-o", result, "--events", path.with_suffix(".jsonl")).exit_code == 0
    assert run("plot", result).exit_code == 0
    assert run("check", path, "--plot", path.with_suffix(".png")).exit_code == 0
    assert ElementTree.parse(picture)
    assert result.with_suffix(".png").stat().st_size > 1000


@pytest.mark.parametrize("field", ["u", "speed", "pressure"])
def test_numbers_that_are_too_large_to_be_drawn_are_named(tmp_path, field):
    solution = solve(generate.duct(nx=2, ny=1), backend="numpy", solver="direct")
    values = np.where(np.arange(len(getattr(solution, field))) % 2, 1e308, -1e308)
    replace(solution, **{field: values}).write(tmp_path / "result.h5")
    result = run("plot", tmp_path / "result.h5", "-o", tmp_path / "flow.png")
    assert result.exit_code == 2
    assert result.stderr == (
        f"fem: error: {tmp_path / 'flow.png'}: can't be drawn: {field} reaches 1e+308, "
        "and at most 1e+300 can be shown\n"
    )
    assert not (tmp_path / "flow.png").exists()


def test_a_failure_of_matplotlib_names_the_picture(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise ValueError("arange: cannot compute length")

    monkeypatch.setattr("fem_core.plot.figure.draw", fail)
    solution = solve(generate.duct(nx=2, ny=1), backend="numpy", solver="direct")
    with pytest.raises(FemError, match=r"flow.png: can't be drawn: ValueError: arange"):
        solution.plot(tmp_path / "flow.png")
