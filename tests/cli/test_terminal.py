"""No name and no text of others acts on the terminal: what can't be seen is shown as an escape."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import pytest
from click.testing import Result
from commands import run
from fakes.distributions import Shelf
from fem_core.cli import console, progress
from fem_core.plugins.backend import BackendInfo
from fem_core.plugins.registry import REGISTRY
from fem_core.support.wording import visible

#: Clears the screen, sets the title, rings, breaks the line, turns the direction of writing, starts a C1 sequence.
EVIL = "x\x1b[2J\x1b]0;title\x07y\rz\nfem: error: spoof\u202eabc\x9b31m\u2028\x00[bold]\ud800"
NAME = EVIL.translate({0: None, 0xD800: None})  # of a boundary

#: Texts that stay as they are.
GOOD = ["inlet", "Äußere Wand", "中文", "وجه", "a\\b", "1 µm·s⁻¹ ‖x‖", "🌊"]


def check(result: Result) -> str:
    """What a command has printed; each character can be seen, and no line is a forged message."""
    shown = result.stdout + result.stderr
    assert all(line.isprintable() for line in shown.split("\n")), ascii(shown)
    assert not [line for line in shown.split("\n") if line.startswith("fem: error: spoof")]
    return shown


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mesh with a boundary that has an evil name, in a file that has one too (as far as the system allows)."""
    monkeypatch.chdir(tmp_path)
    duct = fem.generate.duct(length=3, nx=4, ny=2)
    duct = replace(duct, boundaries={**duct.boundaries, NAME: duct.boundaries["inlet"]})
    name = "evil\x1b[31m\n\u202e.h5" if os.name == "posix" else "evil\u202e.h5"
    return fem.write_mesh(duct, name)


@pytest.mark.parametrize("text", GOOD)
def test_text_that_can_be_seen_stays(text):
    assert visible(text) == text


def test_what_cannot_be_seen_is_escaped():
    assert visible(EVIL).isprintable()
    assert visible("\x1b\x9b\n\u202e\u2028\x00\ud800\u200d") == r"\x1b\x9b\n\u202e\u2028\x00\ud800\u200d"


@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["solve"],
        ["solve", "-vv"],
        ["convert", "-o", "evil\x1b[31m.npz"],
        ["check", "--fix", "-o", "evil\x1b[31m.npz"],
        ["solve", "-o", "evil\x1b[31m.h5"],
        ["solve", "--output", "no\x1b[31m/evil.h5"],
        ["solve", "--backend", EVIL.replace("\0", "")],
        ["solve", "--solver", EVIL.replace("\0", "")],
        ["solve", "--option", EVIL.replace("\0", "")],
        ["solve", "--debug", "--option", EVIL.replace("\0", "") + "=1"],
        ["bench", "--backend", EVIL.replace("\0", "")],
        ["mesh", EVIL],
        [EVIL],
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="Windows allows no such file names")
def test_no_command_lets_a_name_act_on_the_terminal(mesh, command):
    shown = check(run(*command, *([mesh] if command[0] not in ("mesh", EVIL) else [])))
    assert r"\x1b[" in shown


def test_a_missing_boundary_is_named_visibly(mesh):
    whole = fem.read_mesh(mesh)
    lacking = replace(whole, boundaries={NAME: whole.boundaries["inlet"]})
    result = run("solve", fem.write_mesh(lacking, "lacks.h5"))
    assert result.exit_code == 2
    assert r"\x1b[2J" in check(result)


def test_a_table_keeps_its_numbers_beside_a_long_name(mesh):
    rows = [line for line in run("check", mesh).stdout.splitlines() if line.startswith("x\\x1b")]
    assert re.search(r" 2 +5 +1 +0 +0 to 1 +the mesh$", rows[0])


def test_json_has_the_name_as_it_is(mesh):
    found = json.loads(run("check", mesh, "--json").stdout)
    assert NAME in [one["name"] for one in found["boundaries"]]


def test_backends_and_plugins_cannot_act_on_the_terminal(monkeypatch):
    info = BackendInfo(
        "evil" + EVIL.replace(" ", ""),
        "a fake" + EVIL,
        "no.such:thing",
        stages=("assemble_system",),
        available=lambda: EVIL,
    )
    broken = BackendInfo("evil2", "a fake", "no.such" + EVIL + ":thing", stages=("assemble_system",))
    monkeypatch.setattr(REGISTRY, "_registered", {one.name: one for one in (info, broken)})
    monkeypatch.setattr(REGISTRY, "plugin_failures", {"plugin" + EVIL: "failed" + EVIL})
    check(run("backends"))
    check(run("doctor", "--no-probe"))
    check(run("solve", "mesh.h5", "--backend", "evil2"))


def test_the_help_of_a_plugins_command_cannot_act_on_the_terminal(tmp_path):
    source = """
    import click
    import fem_core as fem

    @click.command("evil\\x1b[31m", short_help="clears\\x1b[2J the screen")
    def evil():
        pass

    @fem.plugins.hookimpl
    def fem_cli_commands():
        return [evil]
    """
    shelf = Shelf(tmp_path)
    shelf.add("fake-evil", {"fake_evil.py": source}, {"evil": "fake_evil"}, "fem.plugins")
    done = shelf.run("-m", "fem_core", "--help")
    assert "\x1b" not in done.stdout + done.stderr
    assert r"clears\x1b[2J the screen" in done.stdout


def test_messages_cannot_pass_for_others(capsys):
    with console.logging_to_stderr(console.Settings()):
        text = EVIL.removesuffix("\ud800")  # pytest keeps what is logged, and can't send half a character
        logging.getLogger("fem_core.some").warning("first %s\nfem: error: second", text)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line.startswith("fem: ")] == lines[:1]


def test_bars_cannot_act_on_the_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")
    with progress.Bars() as bars:
        bars.begin("read", EVIL)
        bars.show(1, 2, EVIL)
        bars.end("done " + EVIL)
    assert "]0;title\x07" not in terminal.getvalue()
    assert "\u202e" not in terminal.getvalue()


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_gets_colours_of_ours_only(mesh):
    import pty

    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "fem_core", "check", os.fspath(mesh)]
    shown = bytearray()

    def read() -> None:
        with suppress(OSError):  # Linux says so when the other end is closed
            while piece := os.read(mine, 65536):
                shown.extend(piece)

    reader = threading.Thread(target=read, daemon=True)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        reader.start()
        reader.join(60)
        process.kill()
    os.close(mine)
    text = shown.decode()
    assert "\x1b[1m" in text  # a heading
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")
    assert all(line.isprintable() for line in plain.split("\n"))
    assert r"\x1b[2J" in plain


def test_only_the_console_prints():
    # Else a name could reach the terminal on another way.
    for path in Path(console.__file__).parent.glob("*.py"):
        if path.name != "console.py":
            assert not re.search(r"click\.(echo|secho|style)|\bprint\(|import Text$|Text\(", path.read_text("utf-8")), (
                path
            )


def test_completion_still_prints_for_the_shell():
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'fem'; from fem_core.cli import main; main()"]
    done = subprocess.run(
        command,
        env={**os.environ, "_FEM_COMPLETE": "zsh_source"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "_FEM_COMPLETE=zsh_complete" in done.stdout
