"""Element types of Abaqus: elements of the mesh, lines that can be edges of boundaries, and types left aside."""

import re

import numpy as np

from fem_core.mesh.cells import KINDS
from fem_core.types import Array

_STRUCTURE = "only plane elements of 3, 4, 6, 8 or 9 nodes are read, such as DC2D8, CPS8 and CPS4R"

#: Areas by their kind: plane stress and strain, heat, acoustics, membranes and shells; letters at the end are options.
_AREAS = {
    "quad8": re.compile(r"(CPS|CPE|CPEG)8[RHTPE]*|S8(R5?)?T?|DS8|(SF)?M3D8R?|AC2D8|DC2D8E?"),
    "quad4": re.compile(r"(CPS|CPE|CPEG)4[RIHTPE]*|S4(R5|RSW?|R)?T?|DS4|(SF)?M3D4R?|AC2D4R?|DC2D4E?|DCC2D4D?"),
    "triangle3": re.compile(r"(CPS|CPE|CPEG)3[HTE]*|S3(RS|R)?T?|STRI3|DS3|(SF)?M3D3|AC2D3|DC2D3E?"),
    "triangle6": re.compile(r"(CPS|CPE|CPEG)6[MHTPE]*|S6|STRI65|DS6|(SF)?M3D6|AC2D6|DC2D6E?"),
    "quad9": re.compile(r"S9R5|M3D9R?"),
}
#: Lines of 3 nodes: trusses, beams, pipes, heat and acoustic links.
_LINE = re.compile(r"T[23]D3[HTE]*|B[23]2(H|OS|OSH)?|PIPE[23]2H?|DC1D3E?|AC1D3")
#: Points, lines of 2 nodes and connectors.
_ASIDE = re.compile(
    r"MASS|ROTARYI|HEATCAP|SPRING[12A]|DASHPOT[12A]|CONN[23]D2|JOINT[23]D|JOINTC|GAPUNI|GAPCYL|GAPSPHER|DGAP"
    r"|T[23]D2[HTE]*|B2[13]H?|B3[13](H|OS|OSH)?|PIPE[23]1H?|FRAME[23]D|R2D2|RB[23]D2|DC1D2E?|DCC1D2D?|AC1D2"
)

#: Lines of 3 nodes, among the kinds of cells.
LINE = "line3"
#: The numbers in a row of each kind: that of the element, and those of its nodes.
WIDTHS = {LINE: 4, **{name: 1 + kind.nodes for name, kind in KINDS.items()}}


def kind_of(word: str) -> str:
    """The kind of cells or lines that elements of this type are; empty for others."""
    if _LINE.fullmatch(word):
        return LINE
    return next((kind for kind, known in _AREAS.items() if known.fullmatch(word)), "")


def is_left_aside(word: str) -> bool:
    """Whether elements of this type can't be part of a mesh of the plane; at most, they mark sides of one."""
    return bool(_ASIDE.fullmatch(word))


def is_link(word: str) -> bool:
    """Whether elements of a type that is left aside join two nodes by a line."""
    return word.startswith(("T", "B", "PIPE", "DC1D", "AC1D"))


def reversed_order(kind: str) -> Array:
    """The local nodes of a cell walked the other way round, from the same corner."""
    k = KINDS[kind].corners
    return np.array([0, *range(k - 1, 0, -1), *range(2 * k - 1, k - 1, -1), 2 * k])[: KINDS[kind].nodes]


def refusal(word: str) -> str:
    """Why elements of another type are refused."""
    if re.search(r"AX|^SAX|^MAX", word):
        return f"elements of type {word}, which are axisymmetric; {_STRUCTURE}"
    return f"elements of type {word[:80]}; {_STRUCTURE}"
