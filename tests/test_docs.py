"""The documentation is true: its Python runs, its commands are commands, its links lead somewhere."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import NamedTuple

import click
import fem_core as fem
import pytest
from fakes.distributions import Shelf
from fakes.planted_faults import FAULTS
from fem_core import results
from fem_core.cli import fem as command_line
from fem_core.plugins import hookspecs
from fem_core.testing import CHECKS, EXECUTOR_CHECKS
from places import ROOT

README = ROOT / "README.md"


def name(page: Path) -> str:
    """How tests call a page."""
    return page.parent.name if page.parent.parent.name == "plugins" else page.stem


PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=name)


class Block(NamedTuple):
    """A fenced block: its language, its text, the line it begins at, and why it isn't run, if it says so."""

    language: str
    text: str
    line: int
    excuse: str


FENCE = re.compile(
    r"^(?:<!-- not run:(?P<excuse>.*?)-->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"], found["text"], text.count("\n", 0, found.start("text")), (found["excuse"] or "").strip()
        )
        for found in FENCE.finditer(text)
    ]


@each_page
def test_every_fence_is_seen(page):
    # The pattern above must not pass over a block because of how it is written.
    fences = re.findall(r"^\s*```(?!\{)\w+", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(blocks(page)) == len(fences)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(one.language == "python" for one in blocks(page))],
    ids=name,
)
def test_python(page, tmp_path, monkeypatch):
    # In order and in one namespace: that of a module, so that what is defined there can be imported by name.
    if page.stem == "numba":
        pytest.importorskip("fem_numba", reason="fem-numba isn't installed")
    monkeypatch.chdir(tmp_path)
    fem.write_mesh(fem.generate.y_tube(nodes=2000), "y_tube.h5")  # as README's `fem mesh` would
    if page.stem == "gmsh":
        shutil.copy(ROOT / "tests" / "data" / "channel-4.1-text.msh", "channel.msh")  # as gmsh would
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page):
        if block.language == "python" and not block.excuse:
            code = compile("\n" * block.line + block.text, str(page), "exec")  # a traceback shows the page's line
            exec(code, vars(module))


@each_page
def test_what_is_not_run_still_compiles(page):
    for block in blocks(page):
        if block.language == "python":
            compile("\n" * block.line + block.text, str(page), "exec")


# commands


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `fem …` in the sh blocks."""
    found = []
    for block in blocks(page):
        if block.language == "sh" and not block.excuse:
            for part in re.split(r"&&|\||;|\n", block.text.replace("\\\n", " ")):
                words = part.split() if part.count("'") % 2 else shlex.split(part, comments=True)
                if words and Path(words[0]).name == "fem":
                    found.append(words[1:])
    return found


def smaller(words: list[str]) -> list[str]:
    """The same command on few nodes."""
    if words[:1] == ["demo"]:
        return ["demo", "--nodes", "2000", *words[1:]]
    words = list(words)
    if "--nodes" in words:
        words[words.index("--nodes") + 1] = "2000"
    return words


#: Pages whose commands are a session from beginning to end, in an empty folder.
SESSIONS = [README, ROOT / "docs" / "tutorial.md"]


def test_the_readme_has_commands():
    assert {words[0] for words in commands(README)} == {"demo", "mesh", "check", "convert", "solve", "doctor"}


@pytest.mark.parametrize("page", SESSIONS, ids=name)
def test_commands_run_one_after_the_other(page, tmp_path):
    for words in commands(page):
        command = [sys.executable, "-m", "fem_core", *smaller(words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        if "--plot" in words and done.returncode and "matplotlib" in done.stderr:
            pytest.skip(f"fem {shlex.join(words)} draws a picture, and matplotlib isn't here")
        assert done.returncode == 0, f"fem {shlex.join(words)}: {done.stderr}"


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_are_understood(page):
    # Parsed as far as can be without doing it: names, options and types of values.
    for words in commands(page):
        command, arguments = command_line, list(words)
        context = None
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            name = arguments.pop(0)
            context = click.Context(command, parent=context, info_name=name)
            found = command.get_command(context, name)
            assert found, f"{page.name}: fem {shlex.join(words)}: there is no {name}"
            command = found
        command.make_context(command.name, arguments, parent=context)


def test_what_the_page_on_gmsh_has_gmsh_do(tmp_path):
    # Its script makes a mesh with the names it says; without one of the options it is refused, and the option is named.
    gmsh = pytest.importorskip("gmsh", exc_type=ImportError)
    script = next(one.text for one in blocks(ROOT / "docs" / "gmsh.md") if one.text.startswith("// channel.geo"))
    file, mesh = tmp_path / "channel.geo", tmp_path / "channel.msh"

    def made(text: str) -> fem.Mesh:
        file.write_text(text, encoding="utf-8")
        gmsh.initialize(interruptible=False)
        try:
            gmsh.option.setNumber("General.Terminal", 0)
            gmsh.open(str(file))
            gmsh.model.mesh.generate(2)
            gmsh.write(str(mesh))
        finally:
            gmsh.finalize()
        return fem.read_mesh(mesh)

    channel = made(script)
    assert set(channel.boundaries) == set(re.findall(r'Physical Curve\("(.*)"\)', script))
    assert fem.solve(channel, backend="numpy", solver="direct").speed.max() > 2.5
    for option in ("ElementOrder", "SecondOrderIncomplete"):
        with pytest.raises(fem.MeshError, match=f"Mesh.{option}="):
            made(re.sub(rf"Mesh.{option} = .*\n", "", script))


# writing a backend


def test_a_backend_from_an_empty_folder(tmp_path):
    # As the page says: its files, what `fem backends` then shows, and its commands; but for pip, which needs a network.
    page = ROOT / "docs" / "backends.md"
    shelf = Shelf(tmp_path)
    project = next(tomllib.loads(one.text) for one in blocks(page) if one.language == "toml")
    files = {}
    for one in blocks(page):
        if path := re.match(r"# ((?:src|tests)/\S+)\n", one.text):
            files[path[1].removeprefix("src/")] = one.text
    assert set(files) == {"fem_mine/__init__.py", "fem_mine/backend.py", "tests/test_mine.py"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/fem_mine"]
    shelf.add(project["project"]["name"], files, project["project"]["entry-points"]["fem.backends"])
    listed = {one["name"]: one for one in json.loads(shelf.run("-m", "fem_core", "backends", "--json").stdout)}
    assert (listed["mine"]["state"], listed["mine"]["distribution"]) == ("ready", "fem-mine 1.0")
    verify, some, thorough, kit = re.findall(
        r"^(?:fem|pytest) (.*--(?:fem-)?backend mine.*)$", page.read_text("utf-8"), re.MULTILINE
    )
    assert thorough == f"{verify} --thorough"  # takes minutes
    own = f"{tmp_path / 'tests'} -k matrix"
    for command, words, said in (
        ("fem_core", f"{verify} --examples 2", "mine conforms"),
        ("fem_core", f"{some} --examples 2", "mine was checked in part: 2 passed"),
        ("pytest", f"-p no:cacheprovider {kit} --fem-examples 2", " passed"),
        ("pytest", f"-p no:cacheprovider {own}", "1 passed"),
    ):
        done = shelf.run("-m", command, *words.split())
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout


# links


def anchors(page: Path) -> set[str]:
    """What a heading can be linked by, as GitHub and MyST make it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#{1,3} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=name)
def test_links(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if module := re.fullmatch(r"api/(fem_core(?:\.\w+)*)\.rst", path):  # a page that sphinx-apidoc makes
            source = ROOT / "core" / "src" / module[1].replace(".", "/")
            good = source.with_suffix(".py").is_file() or (source / "__init__.py").is_file()
        else:
            good = file.exists() and (not anchor or anchor in anchors(file))
        if not good:
            broken.append(target)
    assert not broken, f"{page.name}: nothing is at {', '.join(broken)}"


# what the pages say of the code


def test_every_hook_is_on_its_page_with_its_arguments():
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    for spec in hookspecs.SPECS:
        for name in hookspecs.names(spec):
            code = getattr(spec, name).__code__
            assert f"`{name}({', '.join(code.co_varnames[1 : code.co_argcount])})`" in page


def test_the_map_is_that_of_the_code():
    """Drawn from the import contract and the docstrings: `python docs/draw_map.py` draws it anew."""
    space = runpy.run_path(str(ROOT / "docs" / "draw_map.py"))
    assert space["PICTURE"].read_text(encoding="utf-8") == space["draw"]()


def test_messages_on_the_hooks_page_are_those_of_the_code():
    # An ellipsis stands for what varies; the rest must be in a string of the core.
    folder = Path(fem.__file__).parent
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))
    sources = re.sub(r'"\s*\n?\s*f?"', "", sources)  # strings that go on in the next line
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    table = page.split("## What is refused")[1].split("\n\n")[2]
    rows = [line.split(" | ")[1].rstrip(" |").strip("` ") for line in table.splitlines()[2:]]
    rows += re.findall(r"`(backend … declines [^`]*)`", page)
    assert len(rows) >= 15
    for row in rows:
        for part in re.split(r"…|; ", row):
            assert part.strip(" :?") in sources, f"nothing says {part!r}"


def checks_table() -> str:
    """The table of docs/backends.md."""
    lines = ["| check | stage | what it makes sure of | planted faults that it catches |", "|---|---|---|---|"]
    for name, check in CHECKS.items():
        faults = [fault.info.summary.rstrip(".") for fault in FAULTS if fault.caught_by == name]
        strict = "" if check.deterministic else " *(not strict)*"
        caught = "; ".join(fault[0].lower() + fault[1:] for fault in faults).replace("|", r"\|")
        stage = f"`{check.stage}`" if check.stage else ""
        lines.append(f"| `{name}`{strict} | {stage} | {check.summary.rstrip('.')} | {caught} |")
    return "\n".join(lines)


def executors_table() -> str:
    lines = ["| check | what it makes sure of |", "|---|---|"]
    for name, check in EXECUTOR_CHECKS.items():
        lines.append(f"| `{name}` | {check.__doc__.splitlines()[0].rstrip('.')} |")
    return "\n".join(lines)


def with_tables(text: str) -> str:
    """The page with its tables of checks as they should be."""
    for table in (checks_table(), executors_table()):
        heading = re.escape(table.splitlines()[0])
        text = re.sub(rf"^{heading}\n(\|.*\n)*", lambda _, table=table: f"{table}\n", text, flags=re.MULTILINE)
    return text


def test_tables_of_the_checks():
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    assert text.count("\n| check |") == 2
    assert text == with_tables(text), (
        "the kit has changed: run `python tests/test_docs.py`, which writes the tables anew"
    )


def test_every_stop_reason_is_explained():
    page = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8")
    for reason in results.StopReason:
        assert f"`{reason}`" in page


if __name__ == "__main__":
    backends = ROOT / "docs" / "backends.md"
    backends.write_text(with_tables(backends.read_text(encoding="utf-8")), encoding="utf-8")
