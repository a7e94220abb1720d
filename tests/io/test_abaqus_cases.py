"""What Abaqus files have in practice: done, left aside with a note, or refused by its name and line.

`case` are the inputs that users' reports led to; the others are variants of the same kinds. The duct is
[0, 2] x [0, 1] in 4 x 2 elements; with inflow 2.5 at x = 0 and u = 0 at x = 2, u = 2.5 (2 - x), largest 5.
"""

from pathlib import Path

import fem_core as fem
import numpy as np
import pytest
from fem_core import read_mesh
from fem_core.io import abaqus
from fem_core.mesh.boundaries import mesh_notes
from fem_core.mesh.cells import as_mesh
from fem_core.mesh.geometry import edge_lengths, validate_mesh
from fem_core.mesh.repair import compact
from fem_core.mesh.splitting import split
from meshes import squares

DUCT = squares(4, 2, width=2.0)
INLET, OUTLET = (", ".join(map(str, DUCT.boundaries[name].nodes + 1)) for name in ("inlet", "outlet"))
LEFT = [i + 1 for i, row in enumerate(DUCT.quad8) if (DUCT.x[row] == 0).any()]
RIGHT = [i + 1 for i, row in enumerate(DUCT.quad8) if (DUCT.x[row] == 2).any()]
CENTRE = int(np.flatnonzero((DUCT.x == 1) & (DUCT.y == 0.5))[0]) + 1
SETS = f"*NSET, NSET=inlet\n{INLET}\n*NSET, NSET=outlet\n{OUTLET}\n"


def nodes(mesh=DUCT, first: int = 1) -> str:
    return "".join(
        f"{i}, {x!r}, {y!r}\n" for i, (x, y) in enumerate(zip(mesh.x.tolist(), mesh.y.tolist(), strict=True), first)
    )


def elements(mesh=DUCT, first: int = 1) -> str:
    rows = (mesh.quad8 + first).tolist()
    return "".join(f"{i}, {', '.join(map(str, row))}\n" for i, row in enumerate(rows, 1))


def text(more: str = SETS, kind: str = "CPS8") -> str:
    return f"*HEADING\nduct\n*NODE\n{nodes()}*ELEMENT, TYPE={kind}, ELSET=EALL\n{elements()}{more}"


def parts(*instances: str, part: str = SETS, assembly: str = "") -> str:
    """A part P with the duct, and these instances of it: what stands behind the parameters."""
    placed = "".join(f"*INSTANCE, PART=P, NAME={one}\n*END INSTANCE\n" for one in instances)
    mesh = f"*NODE\n{nodes()}*ELEMENT, TYPE=CPS8, ELSET=EALL\n{elements()}"
    return f"*PART, NAME=P\n{mesh}{part}*END PART\n*ASSEMBLY, NAME=A\n{placed}{assembly}*END ASSEMBLY\n"


@pytest.fixture
def put(tmp_path):
    def write(content: str, name: str = "mesh.inp") -> Path:
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


def largest(path: Path) -> float:
    """The largest u of the default problem."""
    return float(fem.solve(path, backend="numpy").u.max())


def box(mesh) -> tuple[float, ...]:
    """The least and the largest x and y."""
    return (*map(float, (mesh.x.min(), mesh.x.max(), mesh.y.min(), mesh.y.max())),)


def refused(path: Path) -> str:
    """The one line with which the file is refused."""
    with pytest.raises(fem.FemError) as error:
        fem.solve(path, backend="numpy")
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)
    return str(error.value)


# ── the inputs that are there ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "u"),
    [
        ("01_S8", 5),
        ("04b_surface_before_elset", 5),
        ("05_spos", 5),
        ("06c_rotated", 2.5),
        ("08b_elgen_one_inside", 5),
        ("09_ngen", 5),
        ("105a_lines_and_surface", 5),
        ("11a_bom", 5),
        ("13d_two_parts_one_used", 5),
        ("14_upper", 2.5),
        ("18a_mass", 5),
    ],
)
def test_cases_that_are_solved(case, name, u):
    assert largest(case(f"{name}.inp")) == pytest.approx(u, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("05_spos", "'PRESS': its side SPOS isn't an edge"),
        ("13d_two_parts_one_used", "no instance uses the part 'P2': left out"),
        ("18a_mass", "left aside, because no boundary needs them: 1 MASS"),
    ],
)
def test_cases_with_a_note(case, name, said):
    assert any(said in note for note in mesh_notes(read_mesh(case(f"{name}.inp"))))


def test_case_of_a_node_set_from_an_element_set(case):
    # These are the nodes of two elements, three of them inside: no boundary, and nothing is guessed instead.
    assert "the boundary 'inlet' of the file can't be used: node 3 is inside the mesh" in refused(
        case("15_nset_elset.inp")
    )


# ── elements ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "kind",
    [
        "S8",
        "s8r",
        "S8R5",
        "S8RT",
        "DS8",
        "CPS8T",
        "CPE8H",
        "CPE8RHT",
        "CPE8RP",
        "CPEG8",
        "M3D8R",
        "SFM3D8",
        "AC2D8",
        "DC2D8E",
    ],
)
def test_plane_types(put, kind):
    assert largest(put(text(kind=kind))) == pytest.approx(5)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("CAX8", "elements of type CAX8, which are axisymmetric"),
        ("DCAX8", "elements of type DCAX8, which are axisymmetric"),
        ("CGAX8R", "elements of type CGAX8R, which are axisymmetric"),
        ("SAX2", "elements of type SAX2, which are axisymmetric"),
        ("C3D8", "elements of type C3D8; only plane elements of 3"),
        ("SC8R", "elements of type SC8R; only plane elements of 3"),
        ("CPS8X", "elements of type CPS8X; only plane elements of 3"),
        ("COH2D4", "elements of type COH2D4; only plane elements of 3"),
    ],
)
def test_other_types(put, kind, said):
    assert f"line 41: *ELEMENT: {said}" in refused(put(text(kind=kind)))


@pytest.mark.parametrize(
    ("block", "note"),
    [
        ("*ELEMENT, TYPE=SPRINGA, ELSET=K\n500, 1, 2\n501, 2, 3\n", "2 SPRINGA"),
        ("*ELEMENT, TYPE=CONN2D2\n500, 1, 2\n", "1 CONN2D2"),
        ("*ELEMENT, TYPE=rotaryi\n500, 1\n*ELEMENT, TYPE=MASS\n501, 1\n", "1 ROTARYI, 1 MASS"),
        (f"*ELEMENT, TYPE=B21, ELSET=BEAM\n500, {CENTRE}, 1\n", "1 B21"),
        (f"*ELEMENT, TYPE=B22\n500, 1, {CENTRE}, 3\n", "1 with 3 nodes on a line"),
    ],
)
def test_points_and_lines_are_left_aside(put, block, note):
    path = put(text(SETS + block))
    assert largest(path) == pytest.approx(5)
    assert mesh_notes(read_mesh(path)) == (f"elements left aside, because no boundary needs them: {note}",)


def test_lines_of_a_boundary_are_no_rest(put):
    # Two quadratic lines at the inlet, one in Abaqus' order and one with the mid-side last.
    a, b = DUCT.boundaries["inlet"].edges + 1
    lines = f"*ELEMENT, TYPE=T2D3, ELSET=inlet\n900, {a[0]}, {a[1]}, {a[2]}\n901, {b[0]}, {b[2]}, {b[1]}\n"
    path = put(text(f"{lines}*NSET, NSET=outlet\n{OUTLET}\n"))
    assert largest(path) == pytest.approx(5)
    assert mesh_notes(read_mesh(path)) == ()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("*ELEMENT, TYPE=T2D2, ELSET=inlet\n900, {0}, {2}\n", "its lines have no mid-side nodes"),
        ("*ELEMENT, TYPE=T2D3, ELSET=inlet\n900, {0}, 1, 2\n", "line element 900 is no side of an element"),
        ("*ELEMENT, TYPE=MASS, ELSET=inlet\n900, {0}\n", "it is a set of elements; name their sides"),
        ("*ELSET, ELSET=inlet\n1, 5\n", "it is a set of elements; name their sides"),
        ("*ELSET, ELSET=inlet\n777\n", "element 777 is not defined"),
        ("*ELSET, ELSET=INLET\n", "it is empty"),
        ("*ELEMENT, TYPE=T2D3, ELSET=inlet\n900, {0}, {1}, {2}\n*ELSET, ELSET=inlet\n901\n", "element 901 is not"),
    ],
)
def test_element_sets_that_are_no_inlet(put, lines, why):
    edge = DUCT.boundaries["inlet"].edges[0] + 1
    path = put(text(f"{lines.format(*edge)}*NSET, NSET=outlet\n{OUTLET}\n"))
    assert f"of the file can't be used: {why}" in refused(path)


# ── sets ─────────────────────────────────────────────────────────────────────────────────────


def test_sets_before_what_they_hold(put):
    # Sets of sets, surfaces of sets, and a node set of an element set, all above their definitions.
    a, b = DUCT.boundaries["inlet"].edges + 1
    mesh = read_mesh(
        put(
            "*NSET, NSET=inlet\nleft, 1\n*SURFACE, NAME=outlet\nE_OUT, s2\n*NSET, NSET=again, ELSET=lines\n"
            f"*NSET, NSET=LEFT, UNSORTED\n{INLET}\n*ELSET, ELSET=e_out\n{RIGHT[0]}, {RIGHT[1]}\n"
            + text(f"*ELEMENT, TYPE=T2D3, ELSET=lines\n900, {a[0]}, {a[1]}, {a[2]}\n901, {b[0]}, {b[1]}, {b[2]}\n")
        )
    )
    for name in ("inlet", "again", "left"):
        np.testing.assert_array_equal(mesh.boundaries[name.upper() if name == "left" else name].nodes,
                                      DUCT.boundaries["inlet"].nodes)  # fmt: skip
    np.testing.assert_array_equal(mesh.boundaries["outlet"].nodes, DUCT.boundaries["outlet"].nodes)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("*NSET, NSET=a\nb\n*NSET, NSET=b\na\n", "*NSET: the set 'a' is a member of itself"),
        ("*NSET, NSET=a\nbeta\n*NSET, NSET=betta\n1\n", "not a set of nodes: 'beta'; did you mean 'betta'?"),
        ("*NSET, NSET=a\n1, 999\n", "*NSET: node 999 is referred to but not defined"),
        ("*NSET, NSET=a, GENERATE\n5, 1\n", "*NSET: first, last and step were expected, not 5, 1"),
        ("*NSET, NSET=a, GENERATE\n1, 5, 0\n", "*NSET: first, last and step were expected, not 1, 5, 0"),
        ("*NSET, NSET=a, ELSET=none\n", "*NSET: neither a number nor a set of elements: 'none'"),
        ("*NSET, NSET=a, ELSET=EALL\n1, 2\n", "*NSET: lines of data together with ELSET="),
        ("*NSET, NSET=a, INSTANCE=I\n1\n", "*NSET: there is no instance 'I'"),
        ("*NSET\n1\n", "*NSET: NSET= is missing"),
        ("*NSET, NSET=a, ELSET=b\n*ELSET, ELSET=b\n77\n", "*NSET: element 77 is referred to but not defined"),
        ("*SURFACE, NAME=a\n99, S1\n", "*SURFACE: the surface 'a' refers to element 99, not found in the file"),
        ("*SURFACE, NAME=a\nnone, S1\n", "*SURFACE: neither a number nor a set of elements: 'none'"),
        ("*SURFACE, NAME=a\n1, S9\n", "*SURFACE: an element or a set and its side (S1 to S4) were expected"),
        ("*NSET, NSET=s0\ns1\n" + "".join(f"*NSET, NSET=s{i}\ns{i + 1}\n" for i in range(1, 120)) +
         "*NSET, NSET=s120\n1\n", "*NSET: sets are members of sets more than 100 deep"),
    ],
)  # fmt: skip
def test_sets_that_are_refused(put, sets, said):
    # Each by its keyword and line.
    said = said.replace("not a set", "neither a number nor a set")
    message = refused(put(text(SETS + sets)))
    assert said in message
    assert "mesh.inp: line " in message


@pytest.mark.parametrize("name", ["inlet", "Inlet", '"inlet"', "in let", '"in let"'])
def test_names(put, name):
    # Any case, quotes, blanks; two blocks of one set.
    first, rest = INLET.split(", ", 1)
    plain = name.strip('"')
    path = put(text(f"*nset, Nset = {name}\n{first},\n*Nset, nset={name}\n{rest}\n*NSET, NSET=outlet\n{OUTLET}\n"))
    np.testing.assert_array_equal(read_mesh(path).boundaries[plain].nodes, DUCT.boundaries["inlet"].nodes)


def test_case_of_letters_joins_a_set(put):
    first, rest = INLET.split(", ", 1)
    path = put(text(f"*NSET, NSET=Inlet\n{first}\n*NSET, NSET=INLET\n{rest}\n*NSET, NSET=outlet\n{OUTLET}\n"))
    assert largest(path) == pytest.approx(5)
    assert [name for name in read_mesh(path).boundaries if name.lower() == "inlet"] == ["Inlet"]


def test_in_quotes_case_counts(put):
    path = put(text(f'*NSET, NSET="a"\n{INLET}\n*NSET, NSET="A"\n{OUTLET}\n*NSET, NSET=b\n"a"\n'))
    boundaries = read_mesh(path).boundaries
    np.testing.assert_array_equal(boundaries["b"].nodes, boundaries["a"].nodes)
    np.testing.assert_array_equal(boundaries["A"].nodes, DUCT.boundaries["outlet"].nodes)


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        (f"*NSET, NSET=inlet\n{INLET}, {CENTRE}\n", f"node {CENTRE} is inside the mesh"),
        (f"*NSET, NSET=inlet\n{CENTRE}\n", f"node {CENTRE} is inside the mesh"),
        ("*NSET, NSET=inlet\n", "it is empty"),
        ("*NSET, NSET=inlet, ELSET=EALL\n", "it holds all nodes of the mesh"),
        (f"*NODE\n900, 0.5, 0.5\n*NSET, NSET=inlet\n{INLET}, 900\n", "node 900 belongs to no element"),
        ("*ELEMENT, TYPE=MASS, ELSET=M\n900, 1\n*NSET, NSET=inlet, ELSET=M\n", "element 900 is left aside"),
        ("*SURFACE, NAME=inlet\nEALL, SNEG\n", "its side SNEG isn't an edge"),
        ("*SURFACE, NAME=inlet\nEALL\n", "'EALL' has no side there"),
        ("*SURFACE, NAME=inlet, TYPE=NODE\n1\n", "a surface with TYPE=NODE isn't read"),
        ("*SURFACE, NAME=inlet, COMBINE=UNION\na, b\n", "a surface with COMBINE isn't read"),
        ("*SURFACE, NAME=inlet\n", "it is empty"),
    ],
)
def test_a_lost_inlet_is_told(put, sets, why):
    # A condition on it is refused with the reason; without one, one note tells it, and no place is guessed.
    path = put(text(f"{sets}*NSET, NSET=outlet\n{OUTLET}\n"))
    assert f"the boundary 'inlet' of the file can't be used: {why}" in refused(path)
    mesh = read_mesh(path)
    assert [note for note in mesh_notes(mesh) if f"'inlet': {why}" in note]
    assert mesh.by_position == ()


@pytest.mark.parametrize(
    ("sets", "names"),
    [
        (f"*NSET, NSET=left\n{INLET}, {CENTRE}\n", {"left"}),  # looks like a boundary
        (f"*NSET, NSET=inside\n{CENTRE}\n", set()),
        ("*NODE\n900, 1, 0.5, 0\n*NSET, NSET=reference\n900\n", set()),
        ("*NSET, NSET=all, ELSET=EALL\n*ELSET, ELSET=half\n1, 2\n*NSET, NSET=half, ELSET=half\n", set()),
        (f"*NSET, NSET=_picked, INTERNAL\n{INLET}, {CENTRE}\n", set()),
        ("*ELEMENT, TYPE=MASS, ELSET=M\n900, 1\n", set()),
        ("*SURFACE, NAME=press\nEALL, SPOS\n*NSET, NSET=none\n", {"press", "none"}),
    ],
)
def test_which_sets_are_told(put, sets, names):
    # Ordinary ones aren't, whatever they are for; then position decides.
    mesh = read_mesh(put(text(sets)))
    assert set(mesh.lost) == names
    assert set(mesh.boundaries) == ({"walls"} if names else {"inlet", "outlet", "walls"})


def test_a_part_of_a_boundary_that_is_left_aside_is_told(put):
    sides = "".join(f"{number}, S4\n" for number in LEFT)
    path = put(
        text(f"*SURFACE, NAME=inlet\n{sides}*NSET, NSET=inlet\n{INLET}, {CENTRE}\n*NSET, NSET=outlet\n{OUTLET}\n")
    )
    assert largest(path) == pytest.approx(5)
    (note,) = mesh_notes(read_mesh(path))
    assert note == f"'inlet': one of its sets and surfaces isn't part of the boundary: node {CENTRE} is inside the mesh"


def test_edges_of_shells(put):
    path = put(text(f"*SURFACE, NAME=inlet\n{LEFT[0]}, E4\n{LEFT[1]}, e4\n*NSET, NSET=outlet\n{OUTLET}\n", kind="S8R"))
    assert largest(path) == pytest.approx(5)


# ── keywords ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "block",
    [
        "*MATERIAL, NAME=m\n*ELASTIC\n2e11, 0.3\n*DENSITY\n7800.\n*USER MATERIAL, CONSTANTS=1\n1.\n",
        "*SOLID SECTION, ELSET=EALL, MATERIAL=steel\n1.\n*SHELL SECTION, ELSET=EALL, MATERIAL=steel\n0.1, 5\n",
        "*BOUNDARY\ninlet, 1, 2\n*INITIAL CONDITIONS, TYPE=FIELD\ninlet, 2.\n*AMPLITUDE, NAME=a\n0., 1., 1., 1.\n",
        "*ORIENTATION, NAME=o\n1., 0., 0., 0., 1., 0.\n3, 0.\n*TRANSFORM, NSET=inlet\n0., 1., 0., -1., 0., 0.\n",
        "*PREPRINT, ECHO=NO, MODEL=NO\n*RESTART, WRITE\n*SURFACE INTERACTION, NAME=i\n1.\n*FRICTION\n0.3\n",
        "*ENDSTEP\n*STEP, NLGEOM=YES\n*STATIC\n0.1, 1.\n*CLOAD\n3, 1, 5.\n*WHATEVER COMES, X=1\n*OUTPUT, FIELD\n"
        "*NODE OUTPUT\nU\n*EL PRINT\nS\n*TIE\na, b\n*END STEP\n*NODE PRINT\nU\n",
    ],
)  # fmt: skip
def test_what_concerns_no_mesh_is_silent(put, block):
    path = put(text(SETS + block))
    assert largest(path) == pytest.approx(5)
    assert mesh_notes(read_mesh(path)) == ()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("*TIE, NAME=t\na, b\n", "*TIE: it connects or constrains nodes, which isn't supported"),
        ("*EQUATION\n2\n1, 1, 1., 2, 1, -1.\n", "*EQUATION: it connects or constrains nodes"),
        ("*MPC\nTIE, 1, 2\n", "*MPC: it connects or constrains nodes"),
        ("*Embedded Element\nEALL\n", "*EMBEDDED ELEMENT: it connects or constrains nodes"),
        ("*COUPLING, CONSTRAINT NAME=c, REF NODE=1, SURFACE=s\n*KINEMATIC\n", "*COUPLING: it connects"),
        ("*CONTACT PAIR, INTERACTION=i\na, b\n", "*CONTACT PAIR: it connects"),
        ("*NMAP, NSET=all\n0., 0., 0.\n", "*NMAP: it changes the mesh, which isn't supported"),
        ("*IMPERFECTION, FILE=f, STEP=1\n1, 0.1\n", "*IMPERFECTION: it changes the mesh"),
        (
            "*STEP\n*STATIC\n*MODEL CHANGE, REMOVE, TYPE=ELEMENT\nEALL\n*END STEP\n",
            "*MODEL CHANGE: it changes the mesh",
        ),
        ("*SYMMETRIC MODEL GENERATION, REVOLVE\n", "*SYMMETRIC MODEL GENERATION: it changes the mesh"),
        ("*MAGIC\n1\n", "*MAGIC: this keyword isn't known, and may change the mesh"),
        (f"*{'A' * 1000}\n1\n", f"*{'A' * 80}: this keyword isn't known"),  # a message has one line
        (f"*NSET, NSET=a, {'B' * 1000}\n1\n", f"*NSET: the parameter {'B' * 80} isn't known"),
        ("*NODE\n9999999999999999999, 0, 0\n", "*NODE: the node numbers must be whole numbers below 9,007,"),
        ("*SOLIDSECTIONS\n", "*SOLIDSECTIONS: this keyword isn't known (did you mean *SOLIDSECTION?)"),
        ("*\n", "*: this keyword isn't known"),
        ("*NSET, NSET=a, SORTED\n1\n", "*NSET: the parameter SORTED isn't known"),
        ("*NODE, SCALE=2\n", "*NODE: the parameter SCALE isn't known"),
        ("*ELEMENT, TYPE=CPS8, OFFSET=10\n", "*ELEMENT: the parameter OFFSET isn't known"),
        ("*NFILL, NSET=a, BIAS=0.5\ninlet, outlet, 3\n", "*NFILL: the parameter BIAS isn't known"),
        ("*END PART\n", "*END PART: there is no *PART above that it ends"),
    ],
)
def test_what_may_change_a_mesh_is_refused(put, block, said):
    # By its name and its line.
    content = text(SETS + block)
    keyword = said.split(":")[0]
    line = max(i for i, one in enumerate(content.splitlines(), 1) if one.upper().split(",")[0][:81] == keyword)
    assert f"mesh.inp: line {line}: {said}" in refused(put(content))


def test_sets_in_a_step(put):
    # They may be defined there, too.
    assert largest(put(text(f"*STEP\n*STATIC\n{SETS}*END STEP\n"))) == pytest.approx(5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("*NODE\n", "** a comment\n * node ,\n** another one\n nset = NALL\n"),
        ("*HEADING", "\ufeff*HEADING"),
        ("\n", "\r\n"),
        ("2, ", "2,\t"),
        ("*ELEMENT, TYPE", "*Element,type"),
        ("*NSET, NSET=inlet\n", "*NSET, NSET=inlet, INTERNAL, UNSORTED\n"),
    ],
)
def test_ways_to_write_it(put, tmp_path, old, new):
    content = text()
    assert old in content
    (tmp_path / "mesh.inp").write_bytes(content.replace(old, new).encode())
    assert largest(tmp_path / "mesh.inp") == pytest.approx(5)


def test_order_and_gaps_of_numbers(put):
    # Nodes from the last to the first, in two blocks, with an empty z, and a row over two lines.
    rows = [row.split(", ", 1) for row in nodes().splitlines()][::-1]
    given = "".join(f"{10 * int(number)}, {xy},\n" for number, xy in rows)
    half = given.index("\n", len(given) // 2) + 1
    body = "".join(
        ", ".join([row.split(", ")[0], *(str(10 * int(one)) for one in row.split(", ")[1:5])]) + ",\n"
        + ", ".join(str(10 * int(one)) for one in row.split(", ")[5:]) + "\n"
        for row in elements().splitlines()
    )  # fmt: skip
    sets = "".join(
        f"*NSET, NSET={name}\n{', '.join(str(10 * int(one)) for one in listed.split(', '))}\n"
        for name, listed in (("inlet", INLET), ("outlet", OUTLET))
    )
    path = put(f"*NODE\n{given[:half]}*ELEMENT, TYPE=CPS8\n{body}*NODE\n{given[half:]}{sets}")
    assert largest(path) == pytest.approx(5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("3, 0.5, 0.0\n", "3, 0.5\n", "*NODE: rows of 3 or 4 numbers were expected, not '3, 0.5'"),
        ("3, 0.5, 0.0\n", "3, 0.5, 0,0\n2, 0, 0\n", "*NODE: node 2 is defined twice"),
        ("3, 0.5, 0.0\n", "3, 0.5, zero\n", "*NODE: something that isn't a number: 'zero'"),
        ("3, 0.5, 0.0\n", "3, 0.5, 0.0, 0.25\n", "node 3 has z other than 0"),
        ("\n2, 3, ", "\n2, 3, 3.5, ", "*ELEMENT: rows of 9 numbers were expected"),
        ("\n2, 3, ", "\n2, , ", "*ELEMENT: something that isn't a number: ''"),
        ("\n2, 3, ", "\n2, 333, ", "*ELEMENT: node 333 is referred to but not defined"),
        ("\n2, 3, ", "\n1, 3, ", "*ELEMENT: element 1 is defined twice"),
    ],
)
def test_one_fault_in_the_numbers(put, old, new, said):
    content = text()
    assert content.count(old) >= 1
    assert said in refused(
        put(content.replace(old, new, 1) if "*ELEMENT" not in said else _in_elements(content, old, new))
    )


def _in_elements(content: str, old: str, new: str) -> str:
    begin = content.index("*ELEMENT")
    assert old in content[begin:]
    return content[:begin] + content[begin:].replace(old, new, 1)


def test_an_empty_coordinate_is_zero(put):
    # Abaqus takes it so; it must not move what follows one column to the left.
    row = next(row for row in nodes().splitlines() if row.split(", ")[1:] == ["0.0", "1.0"])
    assert largest(put(text().replace(f"\n{row}\n", f"\n{row.split(', ')[0]}, , 1.0\n"))) == pytest.approx(5)
    normal = text().replace("3, 0.5, 0.0\n", "3, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0\n")
    assert largest(put(normal)) == pytest.approx(5)


# ── made from others ─────────────────────────────────────────────────────────────────────────

# Corners of the duct in rows of 9 nodes, 100 apart; rows of mid-sides lie between them.
BASE = "*NODE\n1, 0, 0\n9, 2, 0\n401, 0, 1\n409, 2, 1\n"
GRID = (
    f"{BASE}*NGEN, NSET=bottom\n1, 9\n*NGEN, NSET=top\n401, 409, 1\n"
    "*NFILL, NSET=all\nbottom, top, 4, 100\n"
    "*ELEMENT, TYPE=CPS8, ELSET=first\n1, 1, 3, 203, 201, 2, 103, 202, 101\n"
    "*ELGEN, ELSET=EALL\n1, 4, 2, 1, 2, 200, 10\n"
    "*NSET, NSET=inlet, GENERATE\n1, 401, 100\n*NSET, NSET=outlet, GENERATE\n9, 409, 100\n"
)


def test_a_grid_that_is_made(put):
    # NGEN, NFILL and ELGEN in two directions; of each, the numbers and the sets.
    mesh = read_mesh(
        put(GRID + "*SURFACE, NAME=floor\n1, S1\n2, S1\n3, S1\n4, S1\n*SURFACE, NAME=lid\n11, S3\n14, S3\n")
    )
    assert mesh.n_elements == 8
    assert box(mesh) == (0, 2, 0, 1)
    assert mesh.lost == {}
    assert (mesh.y[mesh.boundaries["floor"].nodes] == 0).all()
    assert len(mesh.boundaries["floor"].nodes) == len(mesh.boundaries["bottom"].nodes) == 9
    assert (mesh.y[mesh.boundaries["lid"].nodes] == 1).all()
    assert largest(put(GRID)) == pytest.approx(5)


HALF = squares(2, 2)
COPY = (
    f"*NODE, NSET=N\n{nodes(HALF)}*ELEMENT, TYPE=S8, ELSET=E\n{elements(HALF)}"
    "*NCOPY, CHANGE NUMBER=100, OLD SET=N, {how}, NEW SET=N2\n{data}"
    "*ELCOPY, OLD SET=E, ELEMENT SHIFT=50, SHIFT NODES=100, NEW SET=E2{reflect}\n"
    "*NSET, NSET=two, ELSET=E2\n"
)


@pytest.mark.parametrize(
    ("how", "data", "expected"),
    [
        ("SHIFT", "1.5, 0, 0\n", (0, 2.5, 0, 1)),
        ("SHIFT", "0, 0, 0\n1.5, 0.5, 0, 1.5, 0.5, 1, 180\n", (0, 3, 0, 1)),
        ("SHIFT", "2, 0, 0\n0, 0, 0, 0, 0, 1, 90.\n", (-1, 1, 0, 3)),  # moved first, then rotated
        ("REFLECT=POINT", "2, 2\n", (0, 4, 0, 4)),
        ("REFLECT=LINE", "2, 0, 0, 2, 0, 1\n", (0, 4, -1, 1)),  # a half turn about a line along z
        ("REFLECT=MIRROR", "-1, 0, 0, -1, 1, 0\n-1, 0, 1\n", (-3, 1, 0, 1)),
    ],
)
def test_copies(put, how, data, expected):
    # Nodes and elements; a mirror turns the elements round, which *ELCOPY, REFLECT makes up for.
    mesh = read_mesh(put(COPY.format(how=how, data=data, reflect=", REFLECT" * how.endswith("MIRROR"))))
    assert mesh.n_elements == 8
    assert box(mesh) == pytest.approx(expected)
    assert mesh.warnings == ()
    assert mesh.lost == {}


def test_sides_of_mirrored_elements(put):
    # Which node they begin at, Abaqus doesn't say, so which side is the first isn't known.
    mirrored = COPY.format(how="REFLECT=MIRROR", data="-1,0,0,-1,1,0\n-1,0,1\n", reflect=", REFLECT")
    assert "the sides of elements of *ELCOPY, REFLECT aren't known" in refused(
        put(mirrored + "*SURFACE, NAME=inlet\nE2, S1\n")
    )


def test_an_arc_that_is_made(put):
    # A quarter of a ring: nodes at equal angles, round a node and round a place.
    ring = (
        "*NODE\n1, 1, 0\n5, 0, 1\n201, 2, 0\n205, 0, 2\n900, 0, 0\n*NGEN, LINE=C, NSET=inner\n1, 5, 1, 900\n"
        "*NGEN, LINE=C, NSET=outer\n201, 205, 1, , 0., 0., 0.\n*NFILL\ninner, outer, 2, 100\n"
        "*ELEMENT, TYPE=DC2D8\n1, 1, 201, 203, 3, 101, 202, 103, 2\n*ELGEN\n1, 2, 2\n"
    )
    mesh = read_mesh(put(ring))
    r = np.hypot(mesh.x, mesh.y)[mesh.boundaries["inner"].nodes]
    np.testing.assert_allclose(r, 1, rtol=1e-14)
    angle = np.sort(np.degrees(np.arctan2(mesh.y, mesh.x))[mesh.boundaries["outer"].nodes])
    np.testing.assert_allclose(angle, [0, 22.5, 45, 67.5, 90], atol=1e-12)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("*NGEN\n1, 77\n", "*NGEN: node 77 is not defined above"),
        ("*NGEN\n1, 9, 3\n", "*NGEN: no steps of 3 lead from node 1 to node 9"),
        ("*NGEN\n1, 9, 1, 401\n", "*NGEN: two nodes and a step were expected"),
        ("*NGEN, LINE=P\n1, 9, 1, 401\n", "*NGEN: LINE=P isn't supported"),
        ("*NGEN, LINE=C\n1, 9, 1\n", "*NGEN: the centre of the arc is missing"),
        ("*NGEN, LINE=C\n1, 9, 1, 401\n", "*NGEN: the ends of an arc aren't at the same distance"),
        ("*NGEN, LINE=C\n1, 9, 1, , 1., 0.\n", "*NGEN: the ends of an arc coincide or are opposite"),
        ("*NGEN, LINE=C, SYSTEM=C\n1, 9, 1, , 1., 0.\n", "*NGEN: only SYSTEM=RC is supported"),
        ("*NGEN, LINE=C\n1, 9, 1, , 1., 0., 0., 0., 0., 1.\n", "arcs of 180° or more aren't supported"),
        ("*NGEN\n1, 999999999\n", "*NGEN: more than 1,048,576 nodes and elements are to be made"),
        ("*NGEN\n1, 9\n*NGEN\n1, 9\n", "*NGEN: nodes 2, 3, 4, 5, 6, … (7 in all) are defined twice"),
        ("*NFILL\na, b, 2\n", "*NFILL: there is no set of nodes 'a' above"),
        ("*NSET, NSET=a\n1\n*NSET, NSET=b\n9, 409\n*NFILL\na, b, 2\n", "*NFILL: the sets have 1 and 2 nodes"),
        ("*NSET, NSET=a\n1\n*NSET, NSET=b\n9\n*NFILL\na, b, 0\n", "*NFILL: 0 intervals with a step of 1"),
        ("*NSET, NSET=a, UNSORTED\n1\n*NFILL\na, a, 2\n", "*NFILL: the set 'a' is unsorted"),
        ("*NSET, NSET=a\n1\n*NCOPY, OLD SET=a, CHANGE NUMBER=50\n", "*NCOPY: one of SHIFT and REFLECT is needed"),
        ("*NSET, NSET=a\n1\n*NCOPY, OLD SET=a, CHANGE NUMBER=50, POLE\n9\n", "*NCOPY: the parameter POLE isn't"),
        ("*NSET, NSET=a\n1\n*NCOPY, OLD SET=a, CHANGE NUMBER=x, SHIFT\n", "*NCOPY: CHANGENUMBER=x isn't a whole"),
        (
            "*NSET, NSET=a\n1\n*NCOPY, OLD SET=a, CHANGE NUMBER=50, SHIFT\n1,0,0\n*NSET, NSET=a\n9\n",
            "*NSET: the set 'a' is copied above",
        ),
        ("*NSET, NSET=a\n1\n*NCOPY, OLD SET=a, CHANGE NUMBER=50, REFLECT=X\n1,0,0\n", "*NCOPY: REFLECT=X isn't known"),
        ("*ELGEN\n5, 2\n", "*ELGEN: element 5 isn't defined above"),
        ("*ELGEN\n5, two\n", "*ELGEN: an element and up to three times"),
        ("*ELSET, ELSET=E\n5\n*ELCOPY, OLD SET=E, ELEMENT SHIFT=1, SHIFT NODES=1\n", "*ELCOPY: element 5 isn't"),
        ("*ELCOPY, OLD SET=E, ELEMENT SHIFT=1, SHIFT NODES=1\n", "*ELCOPY: there is no set of elements 'E' above"),
    ],
)
def test_what_can_not_be_made(put, block, said):
    message = refused(put(BASE + block))
    assert said in message
    assert "line" in message


def test_elements_that_would_be_too_many(put):
    made = GRID.replace("1, 4, 2, 1, 2, 200, 10", "1, 4000, 2, 1, 4000, 200, 10")
    assert "*ELGEN: more than 1,048,576 nodes and elements are to be made" in refused(put(made))
    twice = GRID.replace("1, 4, 2, 1, 2, 200, 10", "1, 4, 2, 1, 2, 200, 1")
    assert "*ELGEN: elements 2, 3, 4 are defined twice" in refused(put(twice))


# ── places ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("*SYSTEM\n10, 20\n", (10, 12, 20, 21)),
        ("*SYSTEM\n0., 0., 0., 0., 1., 0.\n", (-1, 0, 0, 2)),
        ("*SYSTEM\n1., 0., 0., 1., -5., 0.\n", (1, 2, -2, 0)),
        ("*SYSTEM\n0, 0, 0, 1, 0, 0\n1, 1, 0\n", (0, 2, 0, 1)),
        ("*SYSTEM\n0., 0., 0., 0., 1., 0.\n*SYSTEM\n", (0, 2, 0, 1)),
        ("*SYSTEM\n0., 0., 0., 3., 4., 0.\n", (-0.8, 1.2, 0, 2.2)),
    ],
)
def test_a_system_of_coordinates(put, system, expected):
    assert box(read_mesh(put(text(SETS).replace("*NODE", f"{system}*NODE")))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("*SYSTEM\n0, 0, 0, 1, 0, 0\n0, 0, 1\n", "have z other than 0"),
        ("*SYSTEM\n0, 0, 0, 0, 0, 0\n", "*SYSTEM: the points a, b and c must not coincide"),
        ("*SYSTEM\n0, 0, 0, 1, 0, 0\n2, 0, 0\n", "*SYSTEM: the points a, b and c must not coincide nor lie on one"),
        ("*SYSTEM\n0, x\n", "*SYSTEM: something that isn't a number: 'x'"),
        ("*SYSTEM, NAME=a\n0, 0\n", "*SYSTEM: the parameter NAME isn't known"),
    ],
)
def test_systems_that_are_refused(put, system, said):
    assert said in refused(put(text().replace("*NODE", f"{system}*NODE")))


def test_planes_parallel_to_the_first_are_noted(put):
    # By a system, an instance, or for a node of no element not at all.
    for content, notes in (
        (text().replace("*NODE", "*SYSTEM\n0, 0, 1\n*NODE"), ["the mesh lies in the plane z = 1, and is solved in it"]),
        (
            parts("I").replace("NAME=I\n", "NAME=I\n0, 0, 2\n"),
            ["the mesh lies in the plane z = 2, and is solved in it"],
        ),
        (text(SETS + "*NSET, NSET=a\n1\n*NCOPY, OLD SET=a, CHANGE NUMBER=50, SHIFT\n0,0,1\n"), []),
    ):
        path = put(content)
        assert [note for note in mesh_notes(read_mesh(path)) if "plane" in note] == notes
        assert largest(path) == pytest.approx(5)


def test_nodes_in_other_coordinates(put):
    # r and the angle in degrees: a quarter of a ring from squares. Spheres don't lie in the plane.
    ring = squares(2, 4, width=1.0, height=90.0)
    polar = "".join(f"{i}, {1 + x!r}, {y!r}\n" for i, (x, y) in enumerate(zip(ring.x, ring.y, strict=True), 1))
    content = f"*NODE, SYSTEM=C\n{polar}*ELEMENT, TYPE=S8\n{elements(ring)}".replace("np.float64", "")
    mesh = read_mesh(put(content.replace("(", "").replace(")", "")))
    np.testing.assert_allclose(np.hypot(mesh.x, mesh.y), 1 + ring.x, rtol=1e-14)
    np.testing.assert_allclose(np.degrees(np.arctan2(mesh.y, mesh.x)), ring.y, atol=1e-12)
    assert "*NODE: SYSTEM=S isn't supported" in refused(put(text().replace("*NODE", "*NODE, SYSTEM=S")))
    assert largest(put(text().replace("*NODE", "*NODE, SYSTEM=R"))) == pytest.approx(5)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", (0, 2, 0, 1)),
        ("5., 6.\n", (5, 7, 6, 7)),
        ("0, 0, 0\n0, 0, 0, 0, 0, 1, 90\n", (-1, 0, 0, 2)),
        ("0, 0, 0\n0, 0, 0, 0, 0, -1, 90\n", (0, 1, -2, 0)),
        ("1., 0., 0.\n0., 0., 0., 0., 0., 1., 90.\n", (-1, 0, 1, 3)),  # moved first
        ("0, 0, 0\n1, 1, 0, 1, 1, 5, 180\n", (0, 2, 1, 2)),
        ("0, 0, 0\n0, 0, 0, 1, 0, 0, 180\n", (0, 2, -1, 0)),  # back in the plane, all clockwise
    ],
)
def test_places_of_an_instance(put, place, expected):
    path = put(parts("I").replace("NAME=I\n", f"NAME=I\n{place}"))
    assert box(read_mesh(path)) == pytest.approx(expected, abs=1e-15)
    assert largest(path) == pytest.approx(5)


def test_an_instance_that_is_turned_over(put):
    # Its elements are clockwise then, beside others that aren't. Sides of elements keep their numbers.
    sides = f"*SURFACE, NAME=out\n{''.join(f'{one}, S2' + chr(10) for one in RIGHT)}"
    path = put(
        parts("I", "J", part=f"*NSET, NSET=in\n{INLET}\n{sides}", assembly="*NSET, NSET=inlet\nI.in\n")
        .replace("NAME=J\n", "NAME=J\n2, 0, 0\n0, 0.5, 0, 1, 0.5, 0, 180\n")
        .replace("*END ASSEMBLY", f"*ELSET, ELSET=e, INSTANCE=J\n{', '.join(map(str, RIGHT))}\n"
                 "*SURFACE, NAME=outlet\ne, S2\n*END ASSEMBLY")
    )  # fmt: skip
    found = fem.solve(read_mesh(path, slits="merge"), backend="numpy")
    assert found.u.max() == pytest.approx(10)
    assert not found.report.warnings


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("NAME=I\n", "NAME=I\n0, 0, 0\n0, 0, 0, 1, 0, 0, 45\n", "have z other than 0"),
        ("NAME=I\n", "NAME=I\n0, 0, 0\n0, 0, 0, 0, 0, 0, 45\n", "*INSTANCE: the points a and b of the axis coincide"),
        ("NAME=I\n", "NAME=I\n0, 0, 0\n0, 0, 1\n", "*INSTANCE: two points of an axis and an angle were expected"),
        ("PART=P, ", "", "*INSTANCE: PART= is missing"),
        ("PART=P, ", "PART=Q, ", "*INSTANCE: there is no part 'Q'"),
        ("PART=P, ", "PART=P, LIBRARY=old, ", "*INSTANCE: the parameter LIBRARY isn't known"),
        ("*END INSTANCE\n", "", "*END ASSEMBLY: the *INSTANCE above has no *END INSTANCE"),
        ("*END PART\n", "", "*ASSEMBLY: the *PART above has no *END PART"),
    ],
)
def test_instances_that_are_refused(put, old, new, said):
    content = parts("I")
    assert old in content
    assert said in refused(put(content.replace(old, new)))


# ── parts and instances ──────────────────────────────────────────────────────────────────────


def test_names_of_one_instance(put):
    # Sets of the part keep their names; those of the assembly, which say of which instance, too.
    mesh = read_mesh(
        put(
            parts(
                "I-1",
                assembly=f"*NSET, NSET=first, INSTANCE=I-1\n{INLET}\n*NSET, NSET=second\nI-1.inlet\n*NSET, NSET=third\n"
                + "".join(f"I-1.{number}\n" for number in INLET.split(", "))
                + "*ELSET, ELSET=_s, INSTANCE=I-1, INTERNAL\n"
                + f"{LEFT[0]}, {LEFT[1]}\n*SURFACE, NAME=fourth\n_s, S4\n*SURFACE, NAME=fifth\nI-1.{LEFT[0]}, S4\n"
                + f"I-1.{LEFT[1]}, S4\n",
            )
        )
    )
    assert set(mesh.boundaries) == {"inlet", "outlet", "first", "second", "third", "fourth", "fifth", "walls"}
    for name in ("inlet", "first", "second", "third", "fourth", "fifth"):
        np.testing.assert_array_equal(mesh.boundaries[name].nodes, DUCT.boundaries["inlet"].nodes)


def test_names_of_two_instances(put):
    # Plain names would be a guess, unless the assembly joins them.
    two = parts("A", "B").replace("NAME=B\n", "NAME=B\n0, 5, 0\n")
    mesh = read_mesh(put(two))
    assert mesh.n_elements == 16
    assert set(mesh.boundaries) == {"A.inlet", "A.outlet", "B.inlet", "B.outlet", "walls"}
    assert "'inlet' of the file can't be used: several instances have it: 'A.inlet', 'B.inlet'" in refused(put(two))
    joined = two.replace(
        "*END ASSEMBLY", "*NSET, NSET=inlet\nA.inlet, B.inlet\n*NSET, NSET=outlet\nA.outlet, B.outlet\n*END ASSEMBLY"
    )
    path = put(joined)
    assert largest(path) == pytest.approx(5)
    assert len(read_mesh(path).boundaries["inlet"].edges) == 4
    assert mesh_notes(read_mesh(path)) == ()


def test_two_parts_side_by_side(put):
    # Numbers belong to their part, and so do sets; what one part alone has keeps its name.
    half = squares(2, 2)
    mesh = f"*NODE\n{nodes(half)}*ELEMENT, TYPE=S8, ELSET=E\n{elements(half)}"
    left, right = (", ".join(map(str, half.boundaries[name].nodes + 1)) for name in ("inlet", "outlet"))
    content = (
        f"*PART, NAME=L\n{mesh}*NSET, NSET=inlet\n{left}\n*NSET, NSET=cut\n{right}\n*END PART\n"
        f'*PART, NAME="r 2"\n{mesh}*NSET, NSET=cut\n{left}\n*NSET, NSET=outlet\n{right}\n*END PART\n'
        "*ASSEMBLY, NAME=A\n*INSTANCE, NAME=L-1, PART=L\n*END INSTANCE\n"
        '*INSTANCE, NAME="r-1", PART="r 2"\n1.5, 0, 0\n*END INSTANCE\n*END ASSEMBLY\n'
    )
    mesh = read_mesh(put(content))
    assert set(mesh.boundaries) == {"inlet", "outlet", "L-1.cut", "r-1.cut", "walls"}
    assert box(mesh) == (0, 2.5, 0, 1)
    touching = put(content.replace("1.5, 0, 0", "1, 0, 0"))
    assert "coincide" in refused(touching)


def test_a_mesh_in_the_instance(put):
    # As Abaqus/CAE writes independent instances; it moves with them. The reference node of the assembly is no part.
    body = f"*NODE\n{nodes()}*ELEMENT, TYPE=CPS8\n{elements()}{SETS}"
    content = (
        "*PART, NAME=P\n*END PART\n*ASSEMBLY, NAME=A\n*INSTANCE, NAME=P-1, PART=P\n5., 0., 0.\n"
        f"{body}*END INSTANCE\n*NODE\n1, 7., 7., 0.\n*NSET, NSET=reference\n1\n*END ASSEMBLY\n"
    )
    mesh = read_mesh(put(content))
    assert (mesh.x[mesh.used_nodes].min(), mesh.n_nodes) == (5, DUCT.n_nodes + 1)
    assert mesh.lost == {}
    assert largest(put(content)) == pytest.approx(5)


def test_sets_of_the_assembly_go_first(put):
    # The set of the part with the same name is still there, by its whole name.
    path = put(parts("I", assembly=f"*NSET, NSET=inlet, INSTANCE=I\n{OUTLET}\n"))
    mesh = read_mesh(path)
    np.testing.assert_array_equal(mesh.boundaries["inlet"].nodes, DUCT.boundaries["outlet"].nodes)
    np.testing.assert_array_equal(mesh.boundaries["I.inlet"].nodes, DUCT.boundaries["inlet"].nodes)


@pytest.mark.parametrize(
    ("assembly", "said"),
    [
        ("*NSET, NSET=a\nI.77\n", "*NSET: node 77 is referred to but not defined"),
        ("*NSET, NSET=a\n1\n", "*NSET: node 1 is referred to but not defined"),
        ("*NSET, NSET=a\ninlet\n", "neither a number nor a set of nodes: 'inlet'; did you mean 'I.inlet'?"),
        ("*NSET, NSET=a\nJ.inlet\n", "neither a number nor a set of nodes: 'J.inlet'; did you mean 'I.inlet'?"),
        ("*NSET, NSET=a, INSTANCE=J\n1\n", "there is no instance 'J'"),
        ("*INSTANCE, NAME=I, PART=P\n*END INSTANCE\n", "*INSTANCE: the instance 'I' occurs twice"),
    ],
)
def test_references_to_instances_that_are_refused(put, assembly, said):
    assert said in refused(put(parts("I", assembly=assembly)))


def test_a_part_alone(put):
    # Nothing else can be meant; two parts without an instance are no mesh.
    part = parts("I").split("*ASSEMBLY")[0]
    path = put(part)
    assert largest(path) == pytest.approx(5)
    assert mesh_notes(read_mesh(path)) == ("no instance uses the part 'P', which is taken as it is",)
    other = part.replace("NAME=P", "NAME=Q")
    assert "there are no nodes; no instance uses the parts 'P', 'Q'" in refused(put(part + other))
    assert "*PART: the part 'P' occurs twice" in refused(put(part + part))


# ── files beside it ──────────────────────────────────────────────────────────────────────────


def test_files_that_are_included(put):
    # Whole blocks, lines of data only, and the data of one keyword; a byte order mark in each.
    put("\ufeff** nodes\n" + nodes(), "nodes.txt")
    put("\ufeff" + elements(), "elements.txt")
    put(SETS, "sets.inp")
    content = "*NODE, INPUT=nodes.txt\n*ELEMENT, TYPE=S8\n*INCLUDE, INPUT=elements.txt\n*Include, input=sets.inp\n"
    assert largest(put(content)) == pytest.approx(5)
    quoted = '*NODE\n*INCLUDE, INPUT="nodes.txt"\n*ELEMENT, TYPE=S8, INPUT=elements.txt\n*INCLUDE, INPUT=sets.inp\n'
    assert largest(put(quoted)) == pytest.approx(5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/etc/passwd", "'/etc/passwd' isn't read; put the file into this folder"),
        ("../mesh.inp", "'../mesh.inp' isn't read"),
        ("..", "'..' isn't read"),
        ("a/b.inp", "'a/b.inp' isn't read"),
        ("C:\\b.inp", "'C:\\\\b.inp' isn't read"),
        ("none.inp", "there is no file 'none.inp' in this folder"),
        ("", "INPUT= is missing"),
        ("mesh.inp", "files include each other more than 5 deep"),
        ("link.inp", "'link.inp' is a link to another folder"),
        ("folder", "there is no file 'folder' in this folder"),
    ],
)
def test_files_that_are_not_included(put, tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "far.inp").write_text(SETS)
    (tmp_path / "link.inp").symlink_to(tmp_path / "folder" / "far.inp")
    assert f"line 55: *INCLUDE: {said}" in refused(put(text(f"{SETS}*INCLUDE, INPUT={name}\n").replace("duct", "a\nb")))


def test_a_fault_in_an_included_file(put):
    # Named with its own line.
    put("** sets\n*NSET, NSET=inlet\n1, 999\n", "sets.inp")
    message = refused(put(text("*INCLUDE, INPUT=sets.inp\n")))
    assert "sets.inp: line 2: *NSET: node 999 is referred to but not defined" in message
    put(f"*NODE\n{nodes()}", "nodes.txt")
    content = text().replace(f"*NODE\n{nodes()}", "*NODE, INPUT=nodes.txt\n")
    assert "*NODE: nodes.txt has a *NODE; only lines of data were expected" in refused(put(content))


def test_the_same_file_very_often(put):
    put("*HEADING\n" + "x" * 1000, "long.inp")
    assert "*INCLUDE: more than 100 files or 1 GiB are included" in refused(
        put("*INCLUDE, INPUT=long.inp\n" * 101 + text())
    )


def test_what_is_refused_in_a_part_that_is_not_used(put):
    # Neither its elements nor its keywords matter, but those of a part that is used do.
    other = "*PART, NAME=Q\n*NODE\n1, 0, 0, 3\n*ELEMENT, TYPE=C3D4\n1, 1, 1, 1, 1\n*TIE\na, b\n*END PART\n"
    path = put(other + parts("I"))
    assert largest(path) == pytest.approx(5)
    assert mesh_notes(read_mesh(path)) == ("no instance uses the part 'Q': left out",)
    used = parts("I", assembly="*INSTANCE, NAME=J, PART=Q\n*END INSTANCE\n")
    assert "line 4: *ELEMENT: elements of type C3D4; only plane elements" in refused(put(other + used))


# ── other kinds of cells ─────────────────────────────────────────────────────────────────────

# The duct of each kind at the same corners; numbers of nodes have gaps. Triangles are halves of the quadrilaterals,
# the second half of element 1 is 101, and so on; 900 + i are the nodes in the middle of element i.
A, B, C, D, AB, BC, CD, DA = DUCT.quad8.T + 1
AT = np.arange(1, DUCT.n_elements + 1)
MIDDLE = 900 + AT
HALVES = np.concatenate([AT, 100 + AT])
CELLS = {
    "quad4": np.stack([AT, A, B, C, D], axis=1),
    "quad9": np.stack([AT, A, B, C, D, AB, BC, CD, DA, MIDDLE], axis=1),
    "triangle3": np.column_stack([HALVES, np.concatenate([np.stack([A, B, C], 1), np.stack([A, C, D], 1)])]),
    "triangle6": np.column_stack(
        [
            HALVES,
            np.concatenate([np.stack([A, B, C, AB, BC, MIDDLE], 1), np.stack([A, C, D, MIDDLE, CD, DA], 1)]),
        ]
    ),
}
TYPES = {"quad4": "CPS4R", "quad9": "S9R5", "triangle3": "CPE3", "triangle6": "DC2D6", "quad8": "CPS8"}
NAMES = {
    "quad4": "4-node quadrilaterals",
    "quad9": "9-node quadrilaterals",
    "triangle3": "3-node triangles",
    "triangle6": "6-node triangles",
}
_X, _Y = (np.concatenate([at, at[DUCT.quad8[:, 4:]].mean(axis=1)]) for at in (DUCT.x, DUCT.y))
_NUMBERS = np.concatenate([np.arange(1, DUCT.n_nodes + 1), MIDDLE])
PLACES = {int(number): (float(x), float(y)) for number, x, y in zip(_NUMBERS, _X, _Y, strict=True)}


def listed(rows) -> str:
    return "".join(", ".join(map(str, row)) + "\n" for row in np.asarray(rows).tolist())


def block(kind: str, rows, more: str = "") -> str:
    return f"*ELEMENT, TYPE={TYPES[kind]}{more}\n{listed(rows)}"


def mesh_of(*blocks: tuple[str, np.ndarray], more: str = "") -> str:
    """The nodes that these elements have, and the elements."""
    used = np.unique(np.concatenate([rows[:, 1:].ravel() for _, rows in blocks]))
    places = "".join(f"{number}, {PLACES[number][0]!r}, {PLACES[number][1]!r}\n" for number in used.tolist())
    return f"*NODE\n{places}" + "".join(block(kind, rows) for kind, rows in blocks) + more


def at_x(x: float, rows) -> list[int]:
    """The numbers of the nodes of these elements at x."""
    return [number for number in np.unique(rows[:, 1:]).tolist() if PLACES[number][0] == x]


def node_sets(rows) -> str:
    return "".join(
        f"*NSET, NSET={name}\n{', '.join(map(str, at_x(x, rows)))}\n" for name, x in (("inlet", 0), ("outlet", 2))
    )


def surfaces(kind: str) -> str:
    """The sides from d to a at x = 0, and from b to c at x = 2."""
    is_triangle = kind.startswith("triangle")
    left = "".join(f"{100 + one}, S3\n" if is_triangle else f"{one}, S4\n" for one in LEFT)
    return f"*SURFACE, NAME=inlet\n{left}*SURFACE, NAME=outlet\n" + "".join(f"{one}, S2\n" for one in RIGHT)


def lines(kind: str) -> str:
    is_linear = kind in ("quad4", "triangle3")
    given = ""
    for name, first in (("inlet", 700), ("outlet", 800)):
        edges = DUCT.boundaries[name].edges[:, ::2] if is_linear else DUCT.boundaries[name].edges
        rows = np.column_stack([first + np.arange(len(edges)), edges + 1])
        given += f"*ELEMENT, TYPE={'T2D2' if is_linear else 'B22'}, ELSET={name}\n{listed(rows)}"
    return given


def converted(path: Path):
    """The mesh of 8-node quadrilaterals of a file."""
    cells = abaqus.read_cells(path)
    return validate_mesh(split(cells) if cells.has_triangles else compact(as_mesh(cells)))


def check_duct(path: Path) -> None:
    """The duct is whole, and inlet and outlet are its ends."""
    mesh = converted(path)
    assert fem.solve(mesh, backend="numpy").u.max() == pytest.approx(5, rel=1e-9)
    for name, x in (("inlet", 0), ("outlet", 2)):
        np.testing.assert_array_equal(mesh.x[mesh.boundaries[name].nodes], x)
        assert edge_lengths(mesh, mesh.boundaries[name].edges).sum() == pytest.approx(1)


@pytest.mark.parametrize("how", ["node sets", "surfaces", "lines"])
@pytest.mark.parametrize("kind", CELLS)
def test_every_kind_is_read(put, kind, how):
    given = {"node sets": node_sets(CELLS[kind]), "surfaces": surfaces(kind), "lines": lines(kind)}[how]
    path = put(mesh_of((kind, CELLS[kind]), more=given))
    cells = abaqus.read_cells(path)
    assert {name: len(nodes) for name, nodes in cells.blocks.items()} == {kind: len(CELLS[kind])}
    assert cells.notes == ()
    assert cells.lost == {}
    check_duct(path)


@pytest.mark.parametrize("kind", CELLS)
def test_every_other_kind_is_refused_by_a_solve(put, kind):
    message = refused(put(mesh_of((kind, CELLS[kind]), more=node_sets(CELLS[kind]))))
    assert f"mesh.inp: {NAMES[kind]}, but only 8-node quadrilaterals are solved; convert the mesh: fem conv" in message
    assert "mesh.inp -o mesh-quads.h5; or mesh with 8-node elements, such as CPS8 and DC2D8" in message


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        (
            "quad4",
            "CPS4 CPS4I CPS4R CPS4RT CPE4H CPE4RH CPE4IH CPE4PH CPE4RPHT CPEG4IH S4 S4R S4RS S4RSW S4R5 S4RT DS4 M3D4 "
            "M3D4R SFM3D4R AC2D4 AC2D4R DC2D4 DC2D4E DCC2D4 DCC2D4D",
        ),
        ("quad9", "S9R5 M3D9 M3D9R s9r5"),
        ("triangle3", "CPS3 CPE3 CPE3H CPEG3HT S3 S3R S3RS S3RT STRI3 DS3 M3D3 SFM3D3 AC2D3 DC2D3 DC2D3E"),
        ("triangle6", "CPS6 CPS6M CPS6MT CPE6 CPE6MPH CPEG6MHT S6 STRI65 DS6 M3D6 SFM3D6 AC2D6 DC2D6 DC2D6E"),
    ],
)
def test_types_of_every_kind(put, kind, types):
    content = mesh_of((kind, CELLS[kind]))
    for name in types.split():
        cells = abaqus.read_cells(put(content.replace(f"TYPE={TYPES[kind]}", f"TYPE={name}")))
        assert [(kind, len(CELLS[kind]))] == [(found, len(nodes)) for found, nodes in cells.blocks.items()]


@pytest.mark.parametrize(
    "word", ["CAX4R", "CAX3", "CGAX6M", "DCAX4", "ACAX4R", "C3D6", "C3D4", "R3D4", "R3D3", "SC6R", "CINPE4", "CPS9"]
)
def test_other_types_of_few_nodes(put, word):
    content = mesh_of(("quad4", CELLS["quad4"])).replace("CPS4R", word)
    assert f": *ELEMENT: elements of type {word}" in refused(put(content))


@pytest.mark.parametrize("kind", CELLS)
def test_rows_of_another_number_of_nodes(put, kind):
    rows = CELLS[kind]
    content = mesh_of((kind, rows))
    for wrong in (rows[:, :-1], np.column_stack([rows, rows[:, -1]])):
        message = refused(put(content.replace(listed(rows), listed(wrong))))
        assert f"*ELEMENT: rows of {rows.shape[1]} numbers were expected" in message


def mixed() -> list[tuple[str, np.ndarray]]:
    """Columns of 3-node triangles, 4-node, 8-node and 4-node quadrilaterals from left to right."""
    column = np.round(DUCT.x[DUCT.quad8[:, 0]] * 2).astype(int)
    eight = np.column_stack([AT, DUCT.quad8 + 1])
    halves = CELLS["triangle3"][np.tile(column == 0, 2)]
    last = CELLS["quad4"][column == 3]
    return [
        ("quad4", last),
        ("triangle3", halves),
        ("quad8", eight[column == 2]),
        ("quad4", CELLS["quad4"][column == 1]),
    ]


def test_different_kinds_in_one_mesh(put):
    # Sides belong to the element with their number, wherever it stands among its kind and in the file.
    blocks = mixed()
    path = put(mesh_of(*blocks, more=surfaces("triangle3")))
    cells = abaqus.read_cells(path)
    assert {kind: len(nodes) for kind, nodes in cells.blocks.items()} == {"quad4": 4, "triangle3": 4, "quad8": 2}
    assert cells.others == "4-node quadrilaterals and 3-node triangles"
    check_duct(path)


def test_an_edge_has_the_mid_side_node_of_a_neighbour(put):
    # Of the edges between 8-node and 4-node elements: no second node lies there. The floor is both.
    floor = [number for number, (_, y) in PLACES.items() if y == 0]
    rows = np.unique(np.concatenate([rows[:, 1:].ravel() for _, rows in mixed()]))
    there = [number for number in floor if number in rows]
    path = put(mesh_of(*mixed(), more=f"{surfaces('triangle3')}*NSET, NSET=floor\n{', '.join(map(str, there))}\n"))
    mesh = converted(path)
    assert len(np.unique(np.stack([mesh.x, mesh.y]), axis=1).T) == mesh.n_nodes
    floor = mesh.boundaries["floor"]
    assert edge_lengths(mesh, floor.edges).sum() == pytest.approx(2)
    np.testing.assert_array_equal(mesh.y[floor.nodes], 0)


def test_sets_of_nodes_of_mixed_elements(put):
    # A node set of an element set with elements of several kinds: whole elements, which are no boundary.
    whole = "*NSET, NSET=all, ELSET=all\n*ELSET, ELSET=all, GENERATE\n1, 8\n*NSET, NSET=more\nall, three\n"
    path = put(mesh_of(*mixed(), more=f"{surfaces('triangle3')}{whole}*NSET, NSET=three, ELSET=three\n"
                                      "*ELSET, ELSET=three\n101, 105\n"))  # fmt: skip
    cells = abaqus.read_cells(path)
    assert set(cells.boundaries) == {"inlet", "outlet"}
    assert cells.lost == {}


@pytest.mark.parametrize("kind", ["triangle3", "triangle6"])
def test_a_fourth_side_of_a_triangle(put, kind):
    # One triangle alone, too, whose outline has a side that no other triangle has.
    for given, rows in ((kind, CELLS[kind]), (kind, CELLS[kind][:1])):
        cells = abaqus.read_cells(put(mesh_of((given, rows), more="*SURFACE, NAME=inlet\n1, S3\n1, S4\n")))
        assert cells.lost == {"inlet": "element 1 has 3 sides, but it gives a side S4"}


def test_one_triangle_alone(put):
    # Its outline has a fourth side, which is no edge of the boundary: all nodes together complete three.
    more = "*NSET, NSET=rim\n{}\n*NSET, NSET=two\n{}\n*NODE\n950, 9, 9\n"
    row = CELLS["triangle3"][0, 1:].tolist()
    content = mesh_of(("triangle3", CELLS["triangle3"][:1]), more=more.format(row[0], f"{row[0]}, {row[1]}"))
    boundaries = abaqus.read_cells(put(content)).boundaries
    assert (len(boundaries["rim"].edges), len(boundaries["two"].edges)) == (0, 1)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("900, {0}, {2}\n901, {0}, 3\n", "line element 901 is no side of an element"),
        ("900, {0}, {4}\n", "line element 900 is no side of an element"),
        ("900, {0}, {0}\n", "line element 900 is no side of an element"),
        ("900, {2}, {2}\n", "line element 900 is no side of an element"),
        ("900, {0}, {2}\n*ELSET, ELSET=inlet\n901\n", "element 901 is not defined"),
        ("900, {0}, 4444\n", "it is a set of elements; name their sides"),
    ],
)
@pytest.mark.parametrize("kind", ["quad4", "triangle3"])
def test_lines_of_2_nodes_that_are_no_inlet(put, kind, lines, why):
    ends = DUCT.boundaries["inlet"].edges + 1
    given = lines.format(*ends[0], *ends[1]) if "{4}" not in lines else f"900, {ends.min()}, {ends.max()}\n"
    path = put(mesh_of((kind, CELLS[kind]), more=f"*ELEMENT, TYPE=T2D2, ELSET=inlet\n{given}"))
    assert abaqus.read_cells(path).lost["inlet"].startswith(why)


def test_lines_of_2_nodes_where_there_are_mid_side_nodes(put):
    # In a mesh that has elements without such nodes elsewhere.
    outlet = at_x(2, mixed()[0][1])
    ends = DUCT.boundaries["walls"].edges[:, ::2] + 1
    low = next(pair for pair in ends.tolist() if {PLACES[one] for one in pair} == {(1.0, 0.0), (1.5, 0.0)})
    given = (
        f"*ELEMENT, TYPE=B21, ELSET=floor\n900, {low[0]}, {low[1]}\n*NSET, NSET=outlet\n{', '.join(map(str, outlet))}\n"
    )
    cells = abaqus.read_cells(put(mesh_of(*mixed(), more=given)))
    assert cells.lost == {"floor": "its lines have no mid-side nodes; use lines of 3 nodes, or a node set"}
    assert cells.notes == ("elements left aside, because no boundary needs them: 1 B21",)


def test_lines_of_2_nodes_that_no_boundary_needs(put):
    # Their type is told with those that are left, whatever has needed others of it.
    more = f"{lines('quad4')}*ELEMENT, TYPE=T2D2\n950, 1, 3\n951, 3, 5\n*ELEMENT, TYPE=MASS\n960, 1\n"
    path = put(mesh_of(("quad4", CELLS["quad4"]), more=more))
    assert abaqus.read_cells(path).notes == ("elements left aside, because no boundary needs them: 2 T2D2, 1 MASS",)
    check_duct(path)


@pytest.mark.parametrize("kind", CELLS)
def test_all_nodes_of_other_kinds(put, kind):
    every = "".join(f"{number}\n" for number in np.unique(CELLS[kind][:, 1:]))
    cells = abaqus.read_cells(put(mesh_of((kind, CELLS[kind]), more=f"*NSET, NSET=inlet\n{every}")))
    assert cells.lost == {"inlet": "it holds all nodes of the mesh"}


def test_damaged_sets_of_nodes_of_linear_elements(put):
    rows = CELLS["quad4"]
    inner = next(number for number, place in PLACES.items() if place == (1.0, 0.5))
    left = ", ".join(map(str, at_x(0, rows)))
    more = f"*NSET, NSET=inlet\n{left}, {inner}\n*NSET, NSET=all\n{', '.join(map(str, np.unique(rows[:, 1:])))}\n"
    cells = abaqus.read_cells(put(mesh_of(("quad4", rows), more=more)))
    assert cells.lost == {"inlet": f"node {inner} is inside the mesh"}


def test_instances_of_other_kinds(put):
    # Two of a part with triangles and quadrilaterals, one behind the other: each with its own sides and lines.
    part = mesh_of(
        *mixed(), more=surfaces("triangle3") + lines("quad4").replace("inlet", "in").replace("outlet", "out")
    )
    content = (
        f"*PART, NAME=P\n{part}*END PART\n*ASSEMBLY, NAME=A\n*INSTANCE, NAME=I, PART=P\n*END INSTANCE\n"
        "*INSTANCE, NAME=J, PART=P\n0, 3, 0\n*END INSTANCE\n"
        "*NSET, NSET=corner\nJ.1\n*ELSET, ELSET=last, INSTANCE=J, INTERNAL\n8\n*SURFACE, NAME=high\nlast, S2\n"
        "*SURFACE, NAME=low\nI.101, S3\n*END ASSEMBLY\n"
    )
    cells = abaqus.read_cells(put(content))
    assert {kind: len(nodes) for kind, nodes in cells.blocks.items()} == {"quad4": 8, "triangle3": 8, "quad8": 4}
    mesh = converted(put(content))
    assert set(mesh.boundaries) >= {f"{one}.{name}" for one in "IJ" for name in ("inlet", "outlet", "in", "out")}
    for one, y in (("I", 0), ("J", 3)):
        for name, x in (("inlet", 0), ("in", 0), ("outlet", 2), ("out", 2)):
            found = mesh.boundaries[f"{one}.{name}"]
            assert edge_lengths(mesh, found.edges).sum() == pytest.approx(1)
            np.testing.assert_array_equal(mesh.x[found.nodes], x)
            assert (mesh.y[found.nodes].min(), mesh.y[found.nodes].max()) == (y, y + 1)
    for name, place in (("high", (2, 3.5, 4)), ("low", (0, 0, 0.5)), ("corner", (0, 3, 3))):
        nodes = mesh.boundaries[name].nodes
        assert (mesh.x[nodes].max(), mesh.y[nodes].min(), mesh.y[nodes].max()) == place


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("quad4", "1, 1, 3, 203, 201"),
        ("quad9", "1, 1, 3, 203, 201, 2, 103, 202, 101, 102"),
        ("triangle3", "1, 1, 3, 203\n101, 1, 203, 201"),
        ("triangle6", "1, 1, 3, 203, 2, 103, 102\n101, 1, 203, 201, 102, 202, 101"),
    ],
)
def test_grids_of_other_kinds_that_are_made(put, kind, first):
    grid = GRID.replace("CPS8", TYPES[kind]).replace("1, 1, 3, 203, 201, 2, 103, 202, 101\n", f"{first}\n")
    if kind.startswith("triangle"):
        grid = grid.replace("1, 4, 2, 1, 2, 200, 10\n", "1, 4, 2, 1, 2, 200, 10\n101, 4, 2, 1, 2, 200, 10\n")
    if kind in ("quad4", "triangle3"):  # the nodes between the corners belong to no element
        grid = grid.replace("1, 401, 100\n", "1, 401, 200\n").replace("9, 409, 100\n", "9, 409, 200\n")
    check_duct(put(grid))


@pytest.mark.parametrize("kind", CELLS)
def test_mirrored_copies_of_every_kind(put, kind):
    # The duct is mirrored at x = 2 with its own nodes there: each copy goes round as its original does.
    rows = CELLS[kind]
    content = (
        mesh_of((kind, rows)).replace("*NODE\n", "*NODE, NSET=N\n").replace(TYPES[kind], f"{TYPES[kind]}, ELSET=E")
    )
    copied = (
        "*NCOPY, CHANGE NUMBER=2000, OLD SET=N, REFLECT=MIRROR\n3, 0, 0, 3, 1, 0\n3, 0, 1\n"
        "*ELCOPY, OLD SET=E, ELEMENT SHIFT=500, SHIFT NODES=2000, REFLECT\n"
    )
    cells = abaqus.read_cells(put(content + copied))
    (nodes,) = cells.blocks.values()
    assert len(nodes) == 2 * len(rows)
    k = 3 if kind.startswith("triangle") else 4
    x, y = cells.x[nodes[:, :k]], cells.y[nodes[:, :k]]
    assert ((x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1) > 0).all()
    mesh = converted(put(content + copied))
    assert box(mesh) == pytest.approx((0, 6, 0, 1))
    assert mesh.warnings == ()
    mids = np.abs(cells.x[cells.edges.middle] - cells.x[cells.edges.ends].mean(axis=1)) if rows.shape[1] > 5 else [0]
    np.testing.assert_allclose(mids, 0, atol=1e-12)


def test_torn_neighbours_are_refused(put):
    # An 8-node and a 9-node element with the same corners at an edge and other nodes in the middle of it.
    eight = np.column_stack([AT, DUCT.quad8 + 1])[:4]
    nine = CELLS["quad9"][4:].copy()
    nine[0, 5] = 999
    content = mesh_of(("quad8", eight), ("quad9", CELLS["quad9"][4:])).replace(listed(CELLS["quad9"][4:]), listed(nine))
    assert "share the corners of an edge but not its mid-side node" in refused(put(content + "*NODE\n999, 0.25, 0.5\n"))
