"""Workbooks as people make them, and the unit of coordinates: what is read, what is refused and with which cell."""

import datetime
import json
import re
import zipfile
from dataclasses import replace
from functools import partial

import fem_core as fem
import numpy as np
import pytest
from commands import run
from fem_core import MeshError, OptionError, check_mesh, read_mesh, write_mesh
from fem_core.io.files import mesh_formats, read_unvalidated
from meshes import squares

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("defusedxml")

MESH = replace(squares(4, 2, width=2.0), boundaries={})  # u = 2.5 (2 - x), largest 5
N = MESH.n_nodes
XY = (1000 * np.stack([MESH.x, MESH.y], axis=1)).tolist()
QUAD8 = (MESH.quad8 + 1).tolist()
HEADS = [f"N{i}" for i in range(1, 9)]
COORD, CONEC = [["X", "Y"], *XY], [HEADS, *QUAD8]
LEFT = MESH.exterior_edges[(MESH.x[MESH.exterior_edges] == 0).all(axis=1)] + 1
RIGHT = MESH.exterior_edges[(MESH.x[MESH.exterior_edges] == 2).all(axis=1)] + 1
EDGES = [*(["inlet", *edge] for edge in LEFT.tolist()), *(["outlet", *edge] for edge in RIGHT.tolist())]
SHEETS = {"coord": COORD, "conec": CONEC, "boundaries": [["name", "a", "mid", "b"], *EDGES]}
NAMED_ONLY = {"coord", "conec"}


@pytest.fixture
def book(tmp_path):
    """Makes a workbook of sheets, by default coord and conec; cells are put into them; `change` may do more."""

    def make(sheets=None, change=None, named=False, **cells):
        path = tmp_path / "mesh.xlsx"
        made = openpyxl.Workbook()
        made.remove(made.active)
        given = {name: rows for name, rows in SHEETS.items() if named or name in NAMED_ONLY} | (sheets or {})
        for title, rows in given.items():
            sheet = made.create_sheet(title)
            for number, row in enumerate(rows or [], start=1):
                for column, value in enumerate(row, start=1):
                    sheet.cell(number, column).value = value
        for name, values in cells.items():
            for place, value in values.items():
                made[name][place] = value
        if change:
            change(made)
        made.save(path)
        return path

    return make


def with_columns(rows, **columns):
    """`rows`, headings first, with more columns before them (`Node=…`); their names are the headings."""
    names = list(columns)
    return [[*names, *rows[0]], *([*more, *row] for *more, row in zip(*columns.values(), rows[1:], strict=True))]


def refusal(path, **options) -> str:
    """What is wrong with a workbook, in one line that names the file."""
    with pytest.raises(MeshError) as error:
        read_mesh(path, **options)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")


def largest(path, **options) -> float:
    return fem.solve(path, backend="numpy", **options).u.max()


def assert_is_the_duct(path) -> fem.Mesh:
    found = read_mesh(path)
    assert np.array_equal(found.x, MESH.x)
    assert np.array_equal(found.y, MESH.y)
    assert np.array_equal(found.quad8, MESH.quad8)
    assert largest(path) == pytest.approx(5)
    return found


# ── the small inputs that reports led to ─────────────────────────────────────────────────────


def test_an_element_in_the_first_row_is_solved(case):
    assert largest(case("61_conec_nohead_interior.xlsx")) == pytest.approx(5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("62b_xlsx_tilted.xlsx", "nodes 2, 3, 5, 6, 7, … (32 in all) have z other than 0"),
        ("60l_formula.xlsx", "coord!A2: the formula =0.0*1 has no stored value; open the workbook in Excel and save"),
        ("60h_empty_mid.xlsx", "coord!A7: row 7 is blank, but row 8 is not; delete the blank row, or fill it"),
        ("60m_zero_based.xlsx", "conec!A2: the node is 0, but node numbers start at 1"),
    ],
)
def test_the_cause_and_the_cell_are_named(case, name, said):
    assert said in refusal(case(name))
    for command in ("solve", "check"):
        ended = run(command, case(name))
        assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
        assert said in ended.stderr


# ── which column is what ─────────────────────────────────────────────────────────────────────


def test_a_first_row_of_eight_whole_numbers_is_an_element(book):
    assert_is_the_duct(book({"conec": QUAD8}))
    assert_is_the_duct(book({"conec": [[None, None, *row] for row in QUAD8]}))
    assert_is_the_duct(book({"conec": [[float(node) for node in row] for row in QUAD8]}))


@pytest.mark.parametrize(
    "rows",
    [
        XY,
        [[*row, 0] for row in XY],
        [[i + 1, *row, 0.0] for i, row in enumerate(XY)],
        [[None, *row] for row in XY],
        [["Node No.", "X-Coord", "Y-Coord", "Z-Coord"], *([i + 1, *row, 0] for i, row in enumerate(XY))],
        [["#", "x [mm]", "y [mm]"], *([i + 1, *row] for i, row in enumerate(XY))],
        [["Nodo", "coordenada X", "coordenada Y"], *([i + 1, *row] for i, row in enumerate(XY))],
        [[" y ", "x"], *(row[::-1] for row in XY)],
        [["X (mm)", "Y_mm"], *XY],
        [["x/mm", "y in mm"], *XY],
    ],
)
def test_coordinates_with_and_without_headings(book, rows):
    assert assert_is_the_duct(book({"coord": rows})).notes == (MILLIMETRES,)
    assert_is_the_duct(book({"coord": rows, "conec": QUAD8}))


MILLIMETRES = "coordinates read as millimetres (--scale 1 for metres)"


@pytest.mark.parametrize(
    "heads",
    [
        [f" n {i}" for i in range(1, 9)],
        [f"Node_{i}" for i in range(1, 9)],
        [f"node{i}" for i in range(8)],
        [f"Nodo {i:02}" for i in range(1, 9)],
        ["Elem. No.", *HEADS],
        ["ID", *HEADS],
        ["element", *HEADS],
    ],
)
def test_headings_of_elements(book, heads):
    ids = [[7 * i] for i in range(len(QUAD8))] if len(heads) > 8 else [[]] * len(QUAD8)
    rows = [[*id_, *row] for id_, row in zip(ids, QUAD8, strict=True)]
    assert assert_is_the_duct(book({"conec": [heads, *rows]})).notes == (MILLIMETRES,)


def test_columns_of_elements_in_another_order(book):
    order = [3, 0, 7, 1, 2, 6, 5, 4]
    assert_is_the_duct(book({"conec": [[row[i] for i in order] for row in CONEC]}))


def test_eight_columns_of_other_names_are_read_in_their_order_and_noted(book):
    found = assert_is_the_duct(book({"conec": [list("IJKLMNOP"), *QUAD8]}))
    assert "sheet conec: columns A, B, C, D, E, F, G, H are read as N1 to N8, in this order" in found.notes


@pytest.mark.parametrize("first", [0, 1, 1000])
def test_node_numbers_are_those_of_their_column(book, first):
    # Also from 0, with gaps, and in any order of the rows.
    rng = np.random.default_rng(1)
    numbers = first + np.cumsum(rng.integers(1, 5, N)) - 1
    numbers[0], order = first, rng.permutation(N)
    coord = [["X", "Node", "Y"], *([XY[i][0], int(numbers[i]), XY[i][1]] for i in order)]
    edges = [[name, *(int(numbers[node - 1]) for node in edge)] for name, *edge in EDGES]
    path = book({"coord": coord, "conec": [HEADS, *numbers[MESH.quad8].tolist()], "boundaries": edges})
    found = read_mesh(path)
    assert np.array_equal(found.x, MESH.x[order])
    assert np.array_equal(found.x[found.quad8], MESH.x[MESH.quad8])
    assert set(found.x[found.boundaries["outlet"].nodes]) == {2.0}
    assert largest(path) == pytest.approx(5)


@pytest.mark.parametrize(
    ("sheets", "said"),
    [
        ({"coord": with_columns(COORD, Node=[99, *range(2, N), 99])}, f"coord!A{N + 1}: a node number must appear"),
        ({"coord": with_columns(COORD, Node=[1.5, *range(2, N + 1)])}, "coord!A2: 1.5 is not a node number"),
        ({"coord": with_columns(COORD, Node=range(2, N + 2))}, "there is no node 1: the column Node doesn't have it"),
        ({"coord": COORD[:-1]}, f"there is no node {N}: coord has {N - 1} nodes"),
        ({"conec": with_columns(CONEC, Elem=[9, 9, *range(6)])}, "conec!A3: an element number must appear once, but 9"),
        ({"conec": [*CONEC[:3], [99, *QUAD8[2][1:]], *CONEC[4:]]}, "conec!A4: there is no node 99"),
        ({"conec": [*CONEC[:3], [-2, *QUAD8[2][1:]], *CONEC[4:]]}, "conec!A4: there is no node -2"),
        ({"conec": [*CONEC[:3], [1.5, *QUAD8[2][1:]], *CONEC[4:]]}, "conec!A4: 1.5 is not a node number"),
        ({"conec": [*QUAD8[:3], [*QUAD8[3][:7], 0], *QUAD8[4:]]}, "conec!H4: the node is 0, but node numbers start"),
    ],
)  # fmt: skip
def test_numbers_that_are_not_those_of_nodes(book, sheets, said):
    assert said in refusal(book(sheets))


@pytest.mark.parametrize(
    ("sheet", "heads", "said"),
    [
        ("coord", ["a", "b"], "coord!A1: the first row has no heading X, Y; it has a, b"),
        ("coord", ["X", None], "coord!A1: the first row has no heading Y; it has X"),
        ("coord", ["X", "x "], "coord!B1: two columns are X, this one and coord!A1; rename one of them"),
        (
            "coord",
            ["X [m]", "Y [m]"],
            "coord!A1: the heading says m, but coordinates are in millimetres unless --scale",
        ),
        ("coord", ["x", "y (in)"], "coord!B1: the heading says in, but"),
        ("coord", ["0", "0"], "coord!A1: the number 0 is stored as text; convert it to a number"),
        ("coord", [1, "Y"], "coord!A1: the first row has no heading X; it has 1, Y"),
        ("coord", [5], "coord!A1: the first row has 1 number and no headings; name the columns Node, X, Y, Z"),
        ("conec", [*HEADS[:7], "M8"], "conec!A1: 7 columns are numbered n…, but an element has 8 nodes here"),
        ("conec", [*HEADS, "N9"], "conec!A1: 9 columns are numbered n…, but an element has 8 nodes here"),
        ("conec", [*HEADS[:7], "N7"], "conec!H1: two columns are n7, this one and conec!G1; rename one"),
        ("conec", [*HEADS, *(f"M{i}" for i in range(1, 9))], "conec!I1: two sets of eight columns are numbered"),
        (
            "conec",
            ["E", *"IJKLMNOP"],
            "conec!A1: the first row has no heading N1, N2, N3, N4, N5, N6, N7, N8; it has E, I",
        ),
        ("conec", ["Elem", *range(1, 9)], "conec!A1: the first row has no heading N1, "),
        ("conec", [str(node) for node in QUAD8[0]], "conec!A1: the number 1 is stored as text; convert it to a number"),
        ("conec", [1, *QUAD8[0]], "conec!A1: the first row has 9 numbers and no headings, but an element has 8 nodes"),
        ("conec", QUAD8[0][:4], "conec!A1: the first row has 4 numbers and no headings"),
        ("conec", [0.5, *QUAD8[0][1:]], "conec!A1: 0.5 is not a node number"),
        ("conec", [True, *QUAD8[0][1:]], "conec!A1: the first row has no heading N1"),
    ],
)
def test_a_first_row_that_is_neither_headings_nor_data(book, sheet, heads, said):
    rows = SHEETS[sheet][1:]
    assert said in refusal(book({sheet: [heads, *(row + row[:1] * (len(heads) - len(row)) for row in rows)]}))


def test_five_columns_without_headings_are_not_coordinates(book):
    assert "coord!A1: the first row has 5 numbers and no headings" in refusal(
        book({"coord": [[*r, 0, 0, 0] for r in XY]})
    )


def test_z_other_than_0_is_refused(book):
    tilted = [["X", "Y", "Z"], *([*row, row[0]] for row in XY)]
    assert "have z other than 0, and z isn't the same everywhere (0 to " in refusal(book({"coord": tilted}))
    level = [["X", "Y", "Z"], *([*row, 5] for row in XY)]
    assert "the mesh lies in the plane z = 5, and is solved in it" in read_mesh(book({"coord": level})).notes
    said = refusal(book({"coord": [[i + 1, *row] for i, row in enumerate(XY)]}))  # or is the third one y?
    assert said.endswith("parallel to it; if the columns are Node, X and Y, give them headings")


def test_other_columns_and_sheets_are_left_aside_with_a_note(book):
    coord = [[*row, more, i] for i, (row, more) in enumerate(zip(COORD, ["Remark", *["wet"] * N], strict=True))]
    coord[0][-1] = "Temperature"
    conec = [[*row, None, more] for row, more in zip(CONEC, [None, "steel", *[None] * 7], strict=True)]
    found = assert_is_the_duct(book({"coord": coord, "conec": conec, "Notes": [["made by hand"]], "log": None}))
    assert found.notes == (
        "sheet coord: columns left aside: Remark (C), Temperature (D)",
        "sheet conec: columns left aside: J, without a heading",
        "sheets left aside: Notes, log",
        MILLIMETRES,
    )
    ended = run("solve", book({"Notes": [["made by hand"]]}), "--backend", "numpy")
    assert "note: sheets left aside: Notes\n" in ended.stdout + ended.stderr


def test_numbers_in_a_column_without_a_heading_are_refused(book):
    # They may be z, or what pandas writes as its index.
    said = (
        "the number 5 is in a column without a heading; give it a heading: a known one, or any other to leave it aside"
    )
    assert refusal(book({"coord": [[*COORD[0]], *([*row, 5] for row in XY)]})) == f"coord!C2: {said}"
    assert refusal(book({"conec": [[None, *HEADS], *([5, *row] for row in QUAD8)]})) == f"conec!A2: {said}"
    assert refusal(book(coord={"E9": 5})) == f"coord!E9: {said}"


# ── cells ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("two", "'two' is not a number"),
        ("12", "the number 12 is stored as text; convert it to a number"),
        (" 1 250,5", "the number 1 250,5 is stored as text; convert it to a number"),
        ("#REF!", "the cell holds the error #REF!; correct its formula"),
        ("#N/A", "the cell holds the error #N/A; correct its formula"),
        ("=A1+1", "the formula =A1+1 has no stored value; open the workbook in Excel and save it"),
        (None, "the cell is blank, but a number is needed"),
        (True, "TRUE is not a number"),
        (datetime.date(2024, 5, 1), "the cell holds a date or time, 2024-05-01 00:00:00, not a number"),
        (datetime.time(5, 1), "the cell holds a date or time, 05:01:00, not a number"),
    ],
)  # fmt: skip
def test_a_cell_that_holds_no_number(book, value, said):
    assert refusal(book(coord={"B5": value})).startswith(f"coord!B5: {said}")
    assert refusal(book(conec={"C4": value})).startswith(f"conec!C4: {said}")
    assert refusal(book({"conec": QUAD8}, conec={"C4": value})).startswith(f"conec!C4: {said}")
    if value is not None:
        said = said.replace("not a number", "not a node number")
        assert refusal(book(named=True, boundaries={"C3": value})).startswith(f"boundaries!C3: {said}")


def test_formulas_with_a_stored_value_are_numbers(book):
    # With a warning if the program that stored it can't compute: XlsxWriter stores 0.
    path = book(coord={"A2": "=1-1"})
    change_part(path, "sheet1", lambda text: re.sub(rb"(<f>1-1</f>)<v ?(/>|></v>)", rb"\1<v>0</v>", text))
    said = (
        "sheet coord has formulas that the program that wrote the workbook did not compute: their values may be wrong"
    )
    assert [text.partition(";")[0] for text in assert_is_the_duct(path).warnings] == [said]
    change_part(path, "xl/workbook.xml", lambda text: text.replace(b'fullCalcOnLoad="1"', b""))
    assert assert_is_the_duct(path).warnings == assert_is_the_duct(book()).warnings == ()


@pytest.mark.parametrize("sheet", ["coord", "conec"])
@pytest.mark.parametrize("headed", [True, False])
def test_rows_of_formulas_without_values_are_not_the_end(book, sheet, headed):
    # openpyxl has nothing in these rows: the elements of the last ones would be gone.
    rows = SHEETS[sheet][not headed :]
    width, last = len(rows[-1]), len(rows)
    said = f"{sheet}!A{last}: the formula =1*1 has no stored value"
    assert refusal(book({sheet: [*rows[:-1], ["=1*1"] * width]})).startswith(said)
    many = ["=1*1"] * width
    assert refusal(book({sheet: [*rows[:-1], *[many] * 1001]})).startswith(said)
    first = f"{sheet}!A{1 + headed}: the formula =1*1 has no stored value"
    assert refusal(book({sheet: [*rows[:headed], *[["=1*1"] * width] * (last - headed)]})).startswith(first)


@pytest.mark.parametrize("sheet", ["coord", "conec", "boundaries"])
def test_formulas_whose_value_is_an_empty_text_are_blank(book, sheet):
    # =IF(…; …; ""), copied beyond the last row: this is what Excel stores.
    path, number = book(named=True), [*SHEETS].index(sheet) + 1
    row = b'<row r="%d"><c r="A%d" t="str"><f>IF(1=1,"","")</f><v></v></c></row>'
    more = b"".join(row % (i, i) for i in range(80, 83))
    change_part(path, f"sheet{number}.xml", lambda text: text.replace(b"</sheetData>", more + b"</sheetData>"))
    assert_is_the_duct(path)


def test_a_formula_without_a_value_in_the_first_row(book):
    # It may be a third column, or a heading.
    assert "coord!C1: the formula =0 has no stored value" in refusal(book({"coord": [[*row, "=0"] for row in XY]}))
    assert "coord!A1: the formula =B1 has no stored value" in refusal(book(coord={"A1": "=B1"}))
    assert "conec!H1: the formula =0 has no stored value" in refusal(book({"conec": [[*r[:7], "=0"] for r in QUAD8]}))


@pytest.mark.parametrize("sheet", ["coord", "conec", "boundaries"])
def test_a_blank_row_in_the_middle(book, sheet):
    rows = SHEETS[sheet]
    said = "row 3 is blank, but row 4 is not; delete the blank row, or fill it"
    assert refusal(book({sheet: [*rows[:2], [], *rows[2:]]}, named=True)) == f"{sheet}!A3: {said}"
    assert "row 1 is blank, but row 2 is not" in refusal(book({sheet: [[], *rows]}, named=True))
    assert assert_is_the_duct(book({sheet: [*rows, [], []]}, named=True)).boundaries


def test_empty_sheets(book):
    for sheet in SHEETS:
        assert refusal(book({sheet: []}, named=True)) == f"{sheet}!A1: the sheet is empty"
        said = refusal(book({sheet: [[None, "=A1"]]}, named=True))
        assert said.startswith(f"{sheet}!B1: the formula =A1 has no stored value")
    assert "no elements" in refusal(book({"conec": [HEADS]}))


def test_as_many_columns_as_are_looked_at(book):
    for more in (55, 56, 70):
        heads = [*HEADS, *(f"more {letter}" for letter in "abcdefgh" for _ in range(9))][: 8 + more]
        found = assert_is_the_duct(book({"conec": [heads, *([*row, *[1] * more] for row in QUAD8)]}))
        assert found.notes[0].count("more") == min(more, 56)


def test_messages_and_notes_are_one_line(book):
    found = assert_is_the_duct(book({"coord": [["X", "Y", "what\nit is"], *XY]}))
    assert found.notes[0] == "sheet coord: columns left aside: what it is (C)"
    assert "it has a b, Y;" in refusal(book({"coord": [["a\nb", "Y"], *XY]}))
    assert "the formula =A1 +A2 has no stored value" in refusal(book(coord={"A3": "=A1\n+A2"}))
    assert "the number 1 2 is stored as text" in refusal(book(coord={"A3": "1\n2"}))


def test_merged_cells_are_named(book):
    path = book(change=lambda made: made["coord"].merge_cells("A4:B6"))
    assert refusal(path).startswith(
        "coord!B4: the cell is blank, but a number is needed; it is one of the merged cells A4:B6"
    )
    path = book(named=True, change=lambda made: made["boundaries"].merge_cells("A2:A3"))
    said = "boundaries!A3: the cell is blank, but a name is needed; it is one of the merged cells A2:A3: unmerge them"
    assert refusal(path).startswith(said)


def test_what_is_hidden_is_read_and_noted(book):
    def hide(made):
        made["conec"].row_dimensions[4].hidden = made["conec"].row_dimensions[5].hidden = True
        made["coord"].sheet_state = "hidden"

    found = assert_is_the_duct(book(change=hide))
    assert found.notes[:2] == (
        "sheet coord is hidden, and read all the same",
        "sheet conec: 2 hidden rows are read like the others",
    )


def change_part(path, name, change) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, content in parts.items():
            archive.writestr(one, change(content) if name in one else content)


@pytest.mark.parametrize("row", [4, 5])
def test_rows_that_are_stored_out_of_order_are_refused(book, row):
    # openpyxl would drop them.
    path = book()
    change_part(path, "sheet2", lambda text: text.replace(b'<row r="6"', b'<row r="%d"' % row))
    assert refusal(path).startswith(f"conec!A{row}: row {row} is stored after row 5; open the workbook in Excel")


# ── sheets ───────────────────────────────────────────────────────────────────────────────────


def renamed(**names):
    def change(made):
        for name, title in names.items():
            made[name].title = "another"  # or openpyxl makes coord1 of Coord
            made["another"].title = title

    return change


def test_names_of_sheets_whatever_their_case_and_spaces(book):
    path = book(named=True, change=renamed(coord=" Coord", conec="CONEC ", boundaries="Boundaries"))
    assert set(assert_is_the_duct(path).boundaries) == {"inlet", "outlet", "walls"}
    assert "Coord!B5: 'two' is not a number" in refusal(book(change=renamed(coord=" Coord"), coord={"B5": "two"}))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"coord": "coords"}, "there is no sheet 'coord'; found: coords, conec; rename the sheet 'coords' to coord"),
        ({"conec": "Conect"}, "there is no sheet 'conec'; found: coord, Conect; rename the sheet 'Conect' to conec"),
        ({"conec": "mesh"}, "there is no sheet 'conec'; found: coord, mesh; rename the sheet with the nodes of the el"),
    ],
)
def test_a_sheet_that_is_missing(book, names, said):
    assert said in refusal(book(change=renamed(**names)))


def test_two_sheets_of_one_name(book):
    assert refusal(book({"conec ": CONEC})) == "two sheets are named conec; delete one of them or rename it"


@pytest.mark.parametrize("name", ["boundary", "Boundary ", "bounds", "boundaries2"])
def test_boundaries_are_not_passed_over_for_their_sheet_s_name(book, name):
    # Position would decide, and nobody know.
    said = refusal(book(named=True, change=renamed(boundaries=name)))
    assert said.startswith(
        f"the sheet {name!r} is not read, because its name is not boundaries; rename it to boundaries"
    )


def test_a_name_that_no_boundary_can_have_is_lost(book):
    # Nobody needs it.
    rows = [*SHEETS["boundaries"], ["wall/top", 1]]
    notes = fem.solve(book({"boundaries": rows}), backend="numpy").report.notes
    assert any("'wall/top': a boundary can't have this name" in note for note in notes)


@pytest.mark.parametrize("name", ["Inlet", "outlet_nodes"])
def test_a_boundary_that_is_a_sheet_is_lost(book, name):
    path = book({name: [["a", "mid", "b"], *(row[1:] for row in EDGES[:2])]})
    with pytest.raises(fem.FemError, match="it is a sheet, but the edges must be in the sheet boundaries"):
        fem.solve(path, backend="numpy")


@pytest.mark.parametrize(("sheet", "name"), [("coord", "INLET"), ("coord", "Boundary"), ("conec", "outlet side")])
def test_a_boundary_that_is_a_column_is_lost(book, sheet, name):
    rows = with_columns(
        {"coord": COORD, "conec": CONEC}[sheet], **{name: [1] * (len(COORD if sheet == "coord" else CONEC) - 1)}
    )
    path = book({sheet: rows})
    with pytest.raises(fem.FemError, match="it is a column, but the edges must be in the sheet boundaries"):
        fem.solve(path, backend="numpy")
    named = book({sheet: rows}, named=True)
    assert any(f"'{name}': it is a column" in note for note in fem.solve(named, backend="numpy").report.notes)


def test_what_is_no_workbook(tmp_path):
    path = tmp_path / "mesh.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "an old workbook (.xls) or one with a password; save it as .xlsx" in refusal(path)


# ── boundaries ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "rows",
    [
        EDGES,
        [["Boundary", "start", "mid", "end"], *EDGES],
        [["b", "mid", "a", "name"], *(row[::-1] for row in EDGES)],
        [["name", "a", "mid", "b"], *([f" {name} ", *edge] for name, *edge in EDGES)],
        [["Comment", "name", "a", "mid", "b"], *([None, *row] for row in EDGES)],
        [["name", "a", "mid", "b"], *EDGES, *EDGES[:1], [EDGES[1][0], *EDGES[1][:0:-1]]],
    ],
)
def test_boundaries_with_and_without_headings(book, rows):
    found = assert_is_the_duct(book({"boundaries": rows}))
    assert [len(found.boundaries[name].edges) for name in ("inlet", "outlet")] == [2, 2]
    assert not found.by_position


def test_boundaries_of_nodes(book):
    for rows in ([["name", "a"]], [["group", "node"]], []):
        found = read_mesh(book({"boundaries": [*rows, *(["pins", node] for node in (3, 1, 3))]}))
        assert (len(found.boundaries["pins"].edges), found.boundaries["pins"].nodes.tolist()) == (0, [0, 2])


def test_names_that_are_numbers(book):
    # Cells hold numbers as Excel stores them: 1 may be 1.0.
    rows = [[1, *LEFT[0].tolist()], [1.0, *LEFT[1].tolist()], ["1 ", *LEFT[0].tolist()], [2.5, *RIGHT[0].tolist()]]
    found = read_mesh(book({"boundaries": rows}))
    assert set(found.boundaries) == {"1", "2.5", "walls"}
    assert len(found.boundaries["1"].edges) == 2


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("B3", 99, "boundaries!B3: there is no node 99: coord has 37 nodes"),
        ("D3", 0, "boundaries!D3: the node is 0, but node numbers start at 1"),
        ("C3", 1.5, "boundaries!C3: 1.5 is not a node number"),
        ("C3", None, "boundaries!C3: the cell is blank, but a node (a row has a, mid, b, or a alone) is needed"),
        ("A3", None, "boundaries!A3: the cell is blank, but a name is needed"),
        ("A3", "  ", "boundaries!A3: the cell is blank, but a name is needed"),
        ("A3", "#NAME?", "boundaries!A3: the cell holds the error #NAME?; correct its formula"),
        ("A3", "=A2", "boundaries!A3: the formula =A2 has no stored value"),
        ("A3", False, "boundaries!A3: FALSE is not a name"),
        ("A1", "which", "boundaries!A1: the first row has no heading name; it has which, a, mid, b"),
        ("C1", "c", "boundaries!A1: the first row has no heading mid; it has name, a, c, b"),
    ],
)
def test_what_is_wrong_with_a_row_of_boundaries(book, place, value, said):
    assert refusal(book(named=True, boundaries={place: value})).startswith(said)


@pytest.mark.parametrize("cells", [("C3", "D3"), ("B3", "C3", "D3")])
def test_an_edge_of_formulas_is_no_node(book, cells):
    # What openpyxl gives is a node, or a boundary without nodes.
    path = book(named=True, boundaries=dict.fromkeys(cells, "=1"))
    assert refusal(path).startswith(f"boundaries!{cells[0]}: the formula =1 has no stored value")


# ── units ────────────────────────────────────────────────────────────────────────────────────


def test_the_same_bits_as_ever_in_millimetres(tmp_path):
    rng = np.random.default_rng(0)
    odd = replace(MESH, x=MESH.x + rng.uniform(0, 1e-3, N), y=MESH.y + rng.uniform(0, 1e-3, N))
    path = write_mesh(odd, tmp_path / "mesh.xlsx")
    rows = openpyxl.load_workbook(path)["coord"].iter_rows(min_row=2, values_only=True)
    x, y = np.array(list(rows)).T
    assert (x.tolist(), y.tolist()) == ((1000 * odd.x).tolist(), (1000 * odd.y).tolist())
    for scale in (None, 0.001):
        found = read_mesh(path, scale=scale)
        assert (found.x.tolist(), found.y.tolist()) == ((x / 1000).tolist(), (y / 1000).tolist())


@pytest.mark.parametrize(("scale", "unit"), [(1, 1), (0.01, 0.01), (0.0254, 0.0254), (25, 25.0)])
def test_scale_says_what_the_coordinates_are_in(book, tmp_path, scale, unit):
    in_unit = [["X", "Y"], *(np.stack([MESH.x, MESH.y], axis=1) / unit).tolist()]
    path = book({"coord": in_unit})
    assert read_mesh(path, scale=scale).notes == ()
    assert largest(path, scale=scale) == pytest.approx(5)
    box = check_mesh(path, scale=scale).to_dict()["mesh"]
    assert (box["x"], box["area"]) == ([0, pytest.approx(2)], pytest.approx(2))
    other = write_mesh(replace(MESH, x=MESH.x / unit, y=MESH.y / unit), tmp_path / "mesh.h5")
    assert largest(other, scale=scale) == pytest.approx(5)
    for file in (path, other):
        report = json.loads(run("solve", file, "--scale", scale, "--json").stdout)
        assert report["solution"]["u_max"] == pytest.approx(5)


def test_what_is_assumed_is_shown(book):
    path = book()
    assert check_mesh(path).notes == (MILLIMETRES,)
    ended = run("check", path)
    assert f"note: {MILLIMETRES}\n" in ended.stdout
    assert "x 0 to 2 m, y 0 to 1 m, area 2 m²" in ended.stdout
    assert MILLIMETRES in run("solve", path, "--backend", "numpy").output
    scaled = run("check", path, "--scale", "1")
    assert MILLIMETRES not in scaled.stdout
    assert "x 0 to 2000 m" in scaled.stdout
    assert scaled.stdout.splitlines()[-1].endswith(f"fem solve {path} --scale 1.0")


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), True, "0.001", 10**400])
@pytest.mark.parametrize("call", [read_mesh, check_mesh, partial(fem.solve, backend="numpy")])
def test_a_scale_that_is_none(book, scale, call):
    with pytest.raises(OptionError, match="scale must be a finite number above 0, not "):
        call(book(), scale=scale)


def test_a_scale_that_is_none_in_the_command_line(book):
    for command in ("solve", "check"):
        ended = run(command, book(), "--scale", "0")
        assert (ended.exit_code, ended.stderr) == (2, "fem: error: scale must be a finite number above 0, not 0.0\n")


def test_a_scale_that_leaves_no_numbers(book):
    assert "node 0 has NaN or infinite coordinates" in refusal(book(coord={"A2": 1e300}), scale=1e300)


def test_a_mesh_in_memory_and_a_result_have_no_scale(tmp_path):
    named = squares(4, 2, width=2.0)
    for call in (check_mesh, partial(fem.solve, backend="numpy")):
        with pytest.raises(OptionError, match="scale is for a mesh file; a Mesh is in metres already; leave scale out"):
            call(named, scale=0.001)
    result = fem.solve(named, backend="numpy").write(tmp_path / "result.h5")
    for call in (read_mesh, check_mesh, partial(fem.solve, backend="numpy")):
        with pytest.raises(OptionError, match=r"result\.h5: a result is in metres"):
            call(result, scale=0.001)
        call(result)


def test_a_mended_mesh_is_in_its_own_unit(book, tmp_path):
    # With a node that belongs to no element; --scale is for the file that is mended.
    path = book({"coord": [["X", "Y"], *([x / 10, y / 10] for x, y in XY), [7, 7]]})
    for name in ("mended.h5", "mended.xlsx"):
        ended = run("check", path, "--scale", "0.01", "--fix", "-o", tmp_path / name)
        assert "x 0 to 2 m, y 0 to 1 m" in ended.stdout
        assert ended.stdout.endswith(f"fem solve {tmp_path / name}\n")
        np.testing.assert_allclose(read_mesh(tmp_path / name).x, MESH.x, rtol=1e-15)


def test_a_plugin_s_format_has_its_own_unit(tmp_path):
    written = []

    class Inches:
        @fem.plugins.hookimpl
        def fem_mesh_readers(self):
            def read(path):
                return replace(MESH, x=MESH.x / 0.0254, y=MESH.y / 0.0254, notes=("from a tape",))

            def write(mesh, path):
                written.append(mesh)
                path.write_text("inches")

            return [fem.plugins.MeshFormat((".tape",), "a tape measure", read, write, unit=0.0254)]

    plugin = Inches()
    fem.plugins.register_plugin(plugin)
    try:
        assert mesh_formats()[-1].unit == 0.0254
        path = write_mesh(MESH, tmp_path / "mesh.tape")
        np.testing.assert_allclose(written[0].x, MESH.x / 0.0254)
        found = read_unvalidated(path)
        np.testing.assert_allclose(found.x, MESH.x)
        assert found.notes == ("from a tape", "coordinates read as inches (--scale 1 for metres)")
        np.testing.assert_allclose(read_mesh(path, scale=1).x, MESH.x / 0.0254)
    finally:
        fem.plugins.unregister_plugin(plugin)


def test_a_chart_sheet_that_cannot_be_read_is_named(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "chart.xlsx"
    fem.write_mesh(fem.generate.duct(nx=2, ny=2), path)
    book = openpyxl.load_workbook(path)
    book.remove(book["coord"])
    book.create_chartsheet("coord")
    book.save(path)
    with pytest.raises(fem.MeshError, match=r"it has a chart sheet; delete it"):
        fem.read_mesh(path)
