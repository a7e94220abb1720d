"""An error never repeats more than 200 characters of any input, wherever the input comes from."""

import os

import fem_core as fem
import h5py
import numpy as np
import pytest
from commands import run
from fem_core.errors import MOST_ECHOED, FemError, MeshError, brief
from fem_core.mesh.geometry import Fault

LONG = {
    "one word": "a" * 100_000,
    "words": "a b " * 30_000,
    "apostrophes": "it's " * 30_000,
    "quotes": "'\"" * 30_000,
    "lines": "a\n" * 30_000,
}


def longest_echo(text: str, message: str) -> int:
    """The length of the longest part of the message that is a part of the periodic text."""
    best = length = 0
    for k in range(len(message)):
        while length < len(message) - k and message[k : k + length + 1] in text[: 4 * len(message)]:
            length += 1
        best, length = max(best, length), max(length - 1, 0)
    return best


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_what_is_quoted_is_short(text):
    message = str(MeshError(f"mesh.inp: can't use the set {text!r}, which isn't there; correct the name"))
    assert longest_echo(text, message) <= MOST_ECHOED
    assert message.startswith("mesh.inp: can't use the set ")
    assert message.endswith("; correct the name")


def test_a_path_with_spaces_is_short():
    path = "/" + "a folder/" * 100 + "mesh.h5"
    message = brief(f"{path}: there is no 'x'; found: nothing")
    assert len(message) < 250
    assert message.endswith("mesh.h5: there is no 'x'; found: nothing")


def test_a_sentence_that_begins_with_a_file_stays_whole():
    path = f"/{'folder/' * 20}script.py"
    for text in (
        f"{path}, line 4, starts worker processes, and each worker imports it; put its statements under `if a:` first",
        f"the flow is 3 m²/s, {'which is more than anything else in the whole mesh, ' * 4}and it is lost",
        f"the flow of 3 m²/s {'is more than anything else in the whole mesh and ' * 4}it is lost",
    ):
        assert len(text) > 200
        assert str(FemError(text)) == text


def test_ordinary_messages_stay_whole():
    text = "it can't be read, and " + "many more words " * 40 + "isn't 'known'"
    assert brief(text) == text


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_names_in_messages_on_conditions(text):
    mesh = fem.generate.duct(nx=2, ny=2)
    with pytest.raises(FemError) as refused:
        fem.Problem((fem.Dirichlet(text),)).on(mesh)
    assert longest_echo(text, str(refused.value)) <= MOST_ECHOED
    with pytest.raises(MeshError) as refused:
        fem.Mesh(mesh.x, mesh.y, mesh.quad8, {text: mesh.boundaries["inlet"]})
    assert longest_echo(text, str(refused.value)) <= MOST_ECHOED
    assert longest_echo(text, Fault(f"the boundary {text!r} has no edges").text) <= MOST_ECHOED
    lost = fem.Mesh(mesh.x, mesh.y, mesh.quad8, lost={text: f"the set {text!r} isn't used"})
    for note in fem.solve(lost, backend="numpy", by_position=True).report.notes:
        assert longest_echo(text, note) <= MOST_ECHOED


@pytest.mark.parametrize("name", ["x" * 5000, "x y " * 1200], ids=["one word", "words"])
def test_names_in_files(tmp_path, name):
    path = tmp_path / "mesh.h5"
    with h5py.File(path, "w") as file:
        file[name] = np.arange(3)
    inp = tmp_path / "mesh.inp"
    inp.write_text(f'*NODE\n1, 0, 0\n*NSET, NSET="{name}", ELSET="{name}"\n*NSET, NSET=b\n"{name}"\n*{name[:4000]}\n')
    for one in (path, inp):
        done = run("solve", one)
        assert done.exit_code == 2
        assert done.stderr.count("\n") == 1
        assert longest_echo(name, done.stderr) <= MOST_ECHOED


@pytest.mark.parametrize("name", ["n" * 5000, "n m " * 1000], ids=["one word", "words"])
def test_names_of_files_and_arguments(tmp_path, name):
    there = tmp_path / "duct.h5"
    fem.write_mesh(fem.generate.duct(nx=2, ny=2), there)
    for arguments in (
        ("solve", f"{name}.h5"),
        ("solve", f"{name}.{name}"),
        ("solve", there, "-o", f"{name}.vtu"),
        ("solve", there, "--backend", name),
        ("solve", there, "--option", name),
        ("solve", there, "--gamma", name),
        ("solve", there, "--" + name),
        ("mesh", name),
        (name,),
    ):
        done = run(*arguments)
        assert done.exit_code == 2 or done.exit_code == 3
        assert longest_echo(name, done.stderr) <= MOST_ECHOED, arguments[:1]
    with pytest.raises((FemError, OSError)) as refused:
        fem.write_mesh(fem.read_mesh(there), tmp_path / f"{name}.h5")
    assert longest_echo(name, str(refused.value)) <= MOST_ECHOED
    assert os.listdir(tmp_path) == ["duct.h5"]
