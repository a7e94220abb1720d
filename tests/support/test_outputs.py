"""What an output name already is: a file keeps its mode, anything else is refused before any work."""

import errno
import os
import socket
import stat
import threading
from pathlib import Path

import fem_core as fem
import pytest
from commands import run
from fem_core.errors import OutputError
from fem_core.support import outputs
from fem_core.support.atomic import _own_as, replacing

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such files")
PATIENCE = 20.0  # seconds, for threads of a busy machine


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    return fem.write_mesh(fem.generate.duct(length=3, nx=4, ny=2), tmp_path / "duct.h5")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket may have some 100 bytes only
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def make_device(path: Path) -> None:
    path.symlink_to(os.devnull)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_read_only(path: Path) -> None:
    path.touch(0o444)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_link_into_a_missing_folder(path: Path) -> None:
    path.symlink_to("missing/result.h5")


MAKERS = {
    make_pipe: "this is a pipe, which a file can't replace; give the name of a file",
    make_socket: "this is a socket",
    make_device: "this is a device",
    make_folder: "this is a folder; give the name of a file in it",
    make_read_only: "this file is read-only; give another name, or make the file writable",
    make_loop: "can't be written: ",
    make_link_into_a_missing_folder: "this link leads to a missing folder",
}


def commands(mesh: Path, path: Path) -> list[list[object]]:
    """Each command that writes a file, with `path` as its output; the ending decides which of them can."""
    if path.suffix == ".png":
        return [["solve", mesh, "--plot", path], ["check", mesh, "--plot", path], ["plot", mesh, "-o", path]]
    return [
        ["solve", mesh, "-o", path],
        ["mesh", "duct", "--nx", "4", "--ny", "2", "-o", path],
        ["convert", mesh, "-o", path],
        ["check", mesh, "--fix", "-o", path],
    ]


@posix
@pytest.mark.parametrize("ending", [".h5", ".png"])
@pytest.mark.parametrize("make", MAKERS)
def test_what_is_no_writable_file_is_refused_and_stays(mesh, tmp_path, make, ending, monkeypatch):
    # A link to /dev/null was replaced by a file, and so was a pipe.
    path = tmp_path / f"out{ending}"
    make(path)
    before, names = os.lstat(path), sorted(os.listdir(tmp_path))
    monkeypatch.setattr("fem_core.run.pipeline.load_mesh", pytest.fail)  # refused before the solve
    for command in commands(mesh, path):
        result = run(*command)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert result.stderr.startswith(f"fem: error: {path}: {MAKERS[make]}")
        assert result.stderr.count("\n") == 1
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert sorted(os.listdir(tmp_path)) == names


def test_python_refuses_an_output_before_the_solve(mesh, tmp_path, monkeypatch):
    monkeypatch.setattr("fem_core.run.pipeline.compute", pytest.fail)
    with pytest.raises(OutputError, match="doesn't exist; create it first"):
        fem.solve(mesh, outputs=[tmp_path / "missing" / "result.h5"])
    with pytest.raises(OutputError, match="can't be the name of a file"):
        fem.solve(mesh, outputs=[tmp_path / "re\0sult.h5"])
    with pytest.raises(fem.FemError, match="unknown ending"):
        fem.solve(mesh, outputs=[tmp_path / "result.txt"])


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_replaced_file_keeps_its_mode(mesh, tmp_path, mode):
    path = tmp_path / "result.h5"
    path.touch()
    path.chmod(mode)
    assert run("solve", mesh, "-o", path).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert fem.read_solution(path).report.converged


@posix
def test_what_takes_the_place_of_a_private_file_is_never_readable_by_others(tmp_path):
    path = tmp_path / "result.txt"
    path.touch(0o600)
    with replacing(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600


@posix
def test_a_new_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "result.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "result.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give a file away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "result.txt"
    path.touch(0o640)
    os.chown(path, 1234, 2345)
    with replacing(path) as temporary:
        temporary.write_text("whole")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)


@posix
@pytest.mark.parametrize("allowed", [{"group"}, {"owner"}, set()])
def test_owner_and_group_are_kept_each_if_that_is_allowed(tmp_path, monkeypatch, allowed):
    # A member of the file's group once gave the group's rights to the own group instead.
    path = tmp_path / "result.txt"
    path.touch(0o660)
    old, kept = path.stat(), set()

    def chown(file: object, user: int, group: int) -> None:
        wanted = {name for name, number in (("owner", user), ("group", group)) if number != -1}
        if not wanted <= allowed:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        kept.update(wanted)

    monkeypatch.setattr(os, "chown", chown)
    _own_as(path, os.stat_result([*old[:4], old.st_uid + 1, old.st_gid + 1, *old[6:]]))
    assert kept == allowed


def test_a_name_may_be_as_long_as_the_file_system_allows(mesh, tmp_path):
    # The temporary file once had a longer name than the result.
    path = tmp_path / ("n" * 200 + ".h5")
    assert run("solve", mesh, "-o", path).exit_code == 0
    with_more = tmp_path / ("n" * 252 + ".h5")  # 255, the most of Linux and macOS
    if os.name == "posix":
        assert run("solve", mesh, "-o", with_more).exit_code == 0


@posix
def test_a_name_that_is_too_long_is_refused_before_the_solve(mesh, tmp_path, monkeypatch):
    monkeypatch.setattr("fem_core.run.pipeline.load_mesh", pytest.fail)
    result = run("solve", mesh, "-o", tmp_path / ("n" * 300 + ".h5"))
    assert result.exit_code == 2
    assert "too long" in result.stderr
    assert result.stderr.count("\n") == 1


@posix
def test_a_link_stays_and_what_it_leads_to_is_replaced(mesh, tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link.h5"
    link.symlink_to("folder/result.h5")
    assert run("solve", mesh, "-o", link).exit_code == 0
    assert link.is_symlink()
    assert fem.read_solution(tmp_path / "folder" / "result.h5").report.converged


def test_stdout_is_no_file(mesh):
    result = run("solve", mesh, "-o", "-")
    assert result.exit_code == 2
    assert result.stderr == "fem: error: -: a file can't be written to stdout; give the name of a file\n"


def test_a_mesh_and_its_picture_need_two_names(mesh, tmp_path):
    result = run("check", mesh, "--fix", "-o", tmp_path / "one.png", "--plot", tmp_path / "one.png")
    assert "two outputs have this name" in result.stderr


# events


def events(mesh: Path, target: object) -> threading.Thread:
    """`fem solve --events`, in a thread that is waited for at most PATIENCE seconds."""
    thread = threading.Thread(target=run, args=("solve", mesh, "--events", target), daemon=True)
    thread.start()
    return thread


@posix
def test_events_do_not_wait_for_ever_for_the_reader_of_a_pipe(mesh, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "_PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe")
    found = []
    thread = threading.Thread(
        target=lambda: found.append(run("solve", mesh, "--events", tmp_path / "pipe")), daemon=True
    )
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert found[0].exit_code == 2
    assert found[0].stderr == (
        f"fem: error: {tmp_path / 'pipe'}: no program reads from this pipe; start the reader first\n"
    )


@posix
def test_events_reach_the_reader_of_a_pipe(mesh, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    thread = events(mesh, tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with open(reader) as stream:
        assert '"fem:solveComplete"' in stream.read().splitlines()[-1]


@posix
def test_a_reader_that_leaves_at_once_is_not_waited_for(tmp_path, monkeypatch):
    # The pipe was once opened a second time, after its reader could have taken the first time for all.
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    connect = outputs._connect

    def connect_and_leave(path: Path) -> int:
        found = connect(path)
        os.close(reader)
        return found

    monkeypatch.setattr(outputs, "_connect", connect_and_leave)
    thread = threading.Thread(target=lambda: outputs.open_stream(tmp_path / "pipe").close(), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@posix
def test_events_may_go_to_the_null_device(mesh, tmp_path):
    assert run("solve", mesh, "--events", os.devnull).exit_code == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@posix
@pytest.mark.parametrize("make", [make_socket, make_folder, make_read_only, make_loop])
def test_events_are_refused_where_no_line_can_be_written(mesh, tmp_path, make):
    make(tmp_path / "events")
    result = run("solve", mesh, "--events", tmp_path / "events")
    assert result.exit_code == 2
    assert MAKERS[make] in result.stderr
