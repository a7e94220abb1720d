"""Element types of Abaqus: elements of the mesh, lines that can be edges of boundaries, and types left aside."""

import re

_STRUCTURE = "only plane 8-node elements can be solved, such as DC2D8, CPS8 and CPS8R"

#: Areas of 8 nodes: plane stress and strain, heat, acoustics, membranes and shells; the letters at the end are options.
_AREA = re.compile(r"(CPS|CPE|CPEG)8[RHTPE]*|S8(R5?)?T?|DS8|(SF)?M3D8R?|AC2D8|DC2D8E?")
#: Lines of 3 nodes: trusses, beams, pipes, heat and acoustic links.
_LINE = re.compile(r"T[23]D3[HTE]*|B[23]2(H|OS|OSH)?|PIPE[23]2H?|DC1D3E?|AC1D3")
#: Points, lines of 2 nodes and connectors.
_ASIDE = re.compile(
    r"MASS|ROTARYI|HEATCAP|SPRING[12A]|DASHPOT[12A]|CONN[23]D2|JOINT[23]D|JOINTC|GAPUNI|GAPCYL|GAPSPHER|DGAP"
    r"|T[23]D2[HTE]*|B2[13]H?|B3[13](H|OS|OSH)?|PIPE[23]1H?|FRAME[23]D|R2D2|RB[23]D2|DC1D2E?|DCC1D2D?|AC1D2"
)


def is_area(kind: str) -> bool:
    """Whether the flow can be solved on elements of this type."""
    return bool(_AREA.fullmatch(kind))


def is_line(kind: str) -> bool:
    """Whether elements of this type can be edges of elements."""
    return bool(_LINE.fullmatch(kind))


def is_left_aside(kind: str) -> bool:
    """Whether elements of this type can't be part of a mesh of the plane, nor of its boundary."""
    return bool(_ASIDE.fullmatch(kind))


def is_link(kind: str) -> bool:
    """Whether elements of a type that is left aside join two nodes by a line."""
    return kind.startswith(("T", "B", "PIPE", "DC1D", "AC1D"))


def refusal(kind: str) -> str:
    """Why elements of another type are refused."""
    if re.search(r"AX|^SAX|^MAX", kind):
        return f"elements of type {kind}, which are axisymmetric; {_STRUCTURE}"
    return f"elements of type {kind[:80]}; {_STRUCTURE}"
