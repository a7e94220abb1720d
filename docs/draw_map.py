"""Draws the map of the code, docs/images/map.svg: `python docs/draw_map.py`.

The layers are those of the import contract in pyproject.toml, and what a folder holds is the first sentence of its
docstring, so that the picture can't say anything else than the code; a test makes sure that it has been drawn anew.
"""

import ast
import re
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "src" / "fem_core"
PICTURE = ROOT / "docs" / "images" / "map.svg"

#: What flows through a run: each value, the folder that defines it, and the stage that makes the next one.
FLOW = (
    ("file, shape", "io, generate", "load_mesh"),
    ("Mesh", "mesh", "compute_sparsity"),
    ("Sparsity", "assembly", "assemble_system"),
    ("LinearSystem", "assembly", "apply_bc, solve_system"),
    ("SolveResult", "results", "compute_derived"),
    ("DerivedFields", "results", ""),
    ("Solution", "solution", "write"),
    ("file, picture", "io, plot", ""),
)
#: What a colour means, and whose it is; white is everybody's.
COLOURS = {
    "#dfecfb": ("numerics", ("mesh", "problem", "results", "solution", "assembly", "solvers", "generate")),
    "#e2f4e5": ("execution", ("execution", "plugins", "backends", "device", "run")),
    "#fdf0d9": ("what users meet", ("io", "tools", "plot", "testing", "_pytest", "cli")),
}
WIDTH, GAP, LEFT, TOP = 1200, 7, 20, 190
INK, PALE = "#1c2733", "#5b6b7b"


def layers() -> list[list[str]]:
    """The layers of the import contract, highest first, each with its folders and modules."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rows: list[str] = next(one["layers"] for one in contracts if one["type"] == "layers")
    return [[name.strip(" ()") for name in re.split(r"[:|]", row)] for row in rows]


def role(name: str) -> str:
    """The first sentence of a folder's or a module's docstring."""
    path = CORE / name / "__init__.py" if (CORE / name).is_dir() else CORE / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.(?:\s|$)", text.partition("\n\n")[0].replace("\n", " "))[0].replace("`", "")


def text(x: float, y: float, words: str, size: int = 13, colour: str = INK, more: str = "") -> str:
    """Words at a place."""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" {more}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A rectangle."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" fill="{fill}" stroke="{PALE}" '
        'stroke-width="0.8"/>'
    )


def flow() -> list[str]:
    """The upper part: what flows through a run."""
    step = (WIDTH - 2 * LEFT) / len(FLOW)
    width = step - 34
    title = "A run: its values, where each is defined, and the stages between them"
    parts = [text(LEFT, 28, title, 17, more='font-weight="600"')]
    for i, (value, home, stage) in enumerate(FLOW):
        x = LEFT + i * step
        parts += [
            box(x, 48, width, 46, "#ffffff"),
            text(x + width / 2, 69, value, 13, more='text-anchor="middle" font-weight="600"'),
            text(x + width / 2, 86, home, 12, PALE, 'text-anchor="middle"'),
        ]
        if i < len(FLOW) - 1:
            ends = f'x1="{x + width:g}" y1="71" x2="{x + step - 3:g}" y2="71"'
            parts.append(f'<line {ends} stroke="{INK}" marker-end="url(#head)"/>')
        for line, words in enumerate(stage.split(", ")):
            style = 'text-anchor="middle" font-style="italic"'
            parts.append(text(x + width + 17, 114 + 16 * line, words, 12, PALE, style))
    return parts


def stack() -> tuple[list[str], float]:
    """The lower part: the layers, highest first, and where it ends."""
    title = "The folders of fem_core: each imports from rows below its own*"
    parts = [text(LEFT, TOP - 14, title, 17, more='font-weight="600"')]
    for i, (colour, (what, _)) in enumerate(COLOURS.items()):
        x = WIDTH - LEFT - 150 * (len(COLOURS) - i)
        parts += [box(x, TOP - 28, 16, 16, colour), text(x + 22, TOP - 15, what, 13, PALE)]
    y = float(TOP)
    for names in layers():
        width = (WIDTH - 2 * LEFT - GAP * (len(names) - 1)) / len(names)
        height = 34 if len(names) == 1 else 64
        for j, name in enumerate(names):
            x = LEFT + j * (width + GAP)
            fill = next((colour for colour, (_, members) in COLOURS.items() if name in members), "#ffffff")
            shown = f"{name}/" if (CORE / name).is_dir() else name
            parts += [box(x, y, width, height, fill), text(x + 12, y + 22, shown, 14, more='font-weight="600"')]
            if len(names) == 1:
                parts.append(text(x + 120, y + 22, role(name), 13, PALE))
            else:
                lines = textwrap.wrap(role(name), int(width / 7.2))
                parts += [text(x + 12, y + 40 + 16 * n, words, 12, PALE) for n, words in enumerate(lines)]
        y += height + GAP
    note = "* and solution, inside its methods, whatever they offer"
    return [*parts, text(LEFT, y + 12, note, 12, PALE)], y + 16


def draw() -> str:
    """The whole picture."""
    layered, end = stack()
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end + 10:g}" font-family="sans-serif">',
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
            f'<path d="M0,0 L6,3 L0,6 z" fill="{INK}"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{end + 10:g}" fill="#ffffff"/>',
            *flow(),
            *layered,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
