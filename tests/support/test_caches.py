"""Caches on disk: nothing of another user is read, nothing waits, nothing is left behind."""

import errno
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fem_core.cli.verify import _storage, verify
from fem_core.support import caches, compiled

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owner and mode are POSIX's")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as two users")

ME, OTHER = 12345, 54321


@pytest.fixture(autouse=True)
def first_warnings():
    """A warning is given once in a process: here, once in a test."""
    caches.warn.cache_clear()


@pytest.fixture
def entry(tmp_path):
    """An entry in a folder that the cache made."""
    path = tmp_path / "cache" / "one-1.bin"
    assert compiled.save(path, b"code", "one-*.bin")
    return path


@pytest.fixture
def acting_as(monkeypatch):
    """Judge files as another user would."""
    return lambda user: monkeypatch.setattr(caches, "_user", lambda: user)


def loaded(path):
    return compiled.load(path, bytes)


# folders


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_folders_and_entries_are_for_this_user_alone_whatever_the_umask(tmp_path, umask):
    path = tmp_path / "a" / "b" / "one-1.bin"
    before = os.umask(umask)
    try:
        compiled.save(path, b"code", "one-*.bin")
    finally:
        os.umask(before)
    assert [one.stat().st_mode & 0o777 for one in (path.parent.parent, path.parent, path)] == [0o700, 0o700, 0o600]
    assert loaded(path) == b"code"


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_neither_read_nor_written(entry, mode, caplog):
    folder = entry.parent
    folder.chmod(mode)
    assert loaded(entry) is None
    assert not compiled.save(folder / "one-2.bin", b"code", "one-*.bin")
    assert caplog.messages == [  # one line for any number of entries
        f"{folder} isn't used as a cache: mode {mode:04o} lets other users write; "
        f"run `chmod go-w {folder}`, or choose another folder"
    ]
    assert caches.fault(folder) == caplog.messages[0]
    folder.chmod(mode & ~0o022)
    assert caches.fault(folder) is None
    assert loaded(entry) == b"code"
    assert [path.name for path in folder.iterdir()] == ["one-1.bin"]


@posix
def test_a_folder_of_another_user_is_not_used(entry, acting_as, caplog):
    mine = os.stat(entry).st_uid
    if mine == 0:  # root's may be used by anybody
        os.chown(entry.parent, OTHER, -1)
        mine = OTHER
    acting_as(ME)
    assert loaded(entry) is None
    assert f"the owner is user {mine}, not you; delete it, or run `sudo chown $USER" in caplog.text
    acting_as(0)
    assert loaded(entry) is None
    assert "run `sudo -H` instead of `sudo`, or `chown root" in caplog.text


@root
def test_what_root_made_may_be_used_by_anybody(entry, acting_as):
    acting_as(ME)
    assert loaded(entry) == b"code"


@root
def test_root_makes_no_folder_inside_that_of_another_user(tmp_path, caplog):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, OTHER, -1)
    assert not compiled.save(home / ".cache" / "fem-core" / "one-1.bin", b"code", "one-*.bin")
    assert f"{home} belongs to user {OTHER}, and you are root; run `sudo -H` instead of `sudo`" in caplog.text
    assert list(home.iterdir()) == []


@posix
def test_a_link_of_this_user_leads_to_a_folder(entry, tmp_path):
    (tmp_path / "link").symlink_to(entry.parent)
    assert loaded(tmp_path / "link" / entry.name) == b"code"


@root
@pytest.mark.parametrize("above", [False, True])
def test_a_link_of_another_user_leads_nowhere(entry, tmp_path, above, caplog):
    link = tmp_path / "link"
    link.symlink_to(entry.parent.parent if above else entry.parent)
    os.lchown(link, OTHER, -1)
    assert loaded((link / entry.parent.name if above else link) / entry.name) is None
    assert f"{link} is a link of user {OTHER}; delete {link}" in caplog.text


def test_a_file_where_the_folder_should_be_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    assert loaded(tmp_path / "file" / "one-1.bin") is None
    assert not compiled.save(tmp_path / "file" / "one-1.bin", b"code", "one-*.bin")
    assert not compiled.save(tmp_path / "file" / "folder" / "one-1.bin", b"code", "one-*.bin")
    assert caplog.messages[0].startswith(f"{tmp_path / 'file'} isn't used as a cache: it is not a folder; delete it")
    assert len(caplog.messages) == 2  # reading and writing give the same one
    assert (tmp_path / "file").read_text() == "not a folder"


def test_the_way_out_names_the_variable_that_the_folder_follows(monkeypatch, tmp_path):
    if sys.platform in ("darwin", "win32"):
        pytest.skip("no variable there")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "fem-core").touch()
    assert caches.fault(caches.cache_folder("a")).endswith("; set XDG_CACHE_HOME to another folder")
    assert caches.fault(tmp_path / "fem-core" / "x").endswith("; set XDG_CACHE_HOME to another folder")
    (tmp_path / "other").touch()
    assert caches.fault(tmp_path / "other").endswith("; delete it, or choose another folder")


@posix
def test_a_read_only_cache_is_read(entry, monkeypatch, caplog):
    entry.parent.chmod(0o500)
    real = os.open

    def read_only(path, flags, *arguments, **names):  # root may write wherever it likes
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *arguments, **names)

    monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {read_only})
    monkeypatch.setattr(os, "open", read_only)
    assert loaded(entry) == b"code"
    for number in (2, 3):
        assert not compiled.save(entry.with_name(f"one-{number}.bin"), b"code", "one-*.bin")
    assert caplog.messages == [
        f"compiled code can't be saved in {entry.parent}, so the next process compiles it again: "
        + os.strerror(errno.EROFS)
    ]
    monkeypatch.undo()
    entry.parent.chmod(0o700)


# entries


@posix
@pytest.mark.parametrize("mode", [0o666, 0o660, 0o602])
def test_an_entry_that_others_may_write_to_is_made_again(entry, mode, caplog):
    entry.chmod(mode)
    assert loaded(entry) is None
    assert f"files in {entry.parent} aren't used: mode {mode:04o}" in caplog.text
    assert compiled.save(entry, b"new", "one-*.bin")
    assert loaded(entry) == b"new"
    assert entry.stat().st_mode & 0o777 == 0o600


@root
def test_entries_of_another_user_are_made_again_with_one_warning(entry, caplog):
    for number in range(3):
        path = entry.with_name(f"one-{number}.bin")
        compiled.save(path, b"code", "one-*.bin")
        os.chown(path, OTHER, -1)
        assert loaded(path) is None
    assert caplog.messages == [
        f"files in {entry.parent} aren't used: the owner is user {OTHER}, not you; new ones will replace them"
    ]
    assert compiled.save(path, b"new", "one-*.bin")
    assert loaded(path) == b"new"


def test_an_entry_under_the_name_of_another_is_not_used(entry, caplog):
    other = entry.with_name("two-1.bin")
    compiled.save(other, b"other code", "two-*.bin")
    os.replace(other, entry)
    assert loaded(entry) is None
    assert f"{entry} can't be used, so it is compiled again: it is damaged, or has the name of another" in caplog.text


KINDS = """
import logging, os, socket
from pathlib import Path
from fem_core.support import compiled

logging.basicConfig()
make = {
    "fifo": os.mkfifo,
    "link": lambda path: os.symlink("/dev/zero", path),
    "dangling": lambda path: os.symlink("nowhere", path),
    "folder": os.mkdir,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(path),
    "device": lambda path: os.mknod(path, 0o020600, os.makedev(1, 5)),
}
for kind in make if os.geteuid() == 0 else [*make][:-1]:
    path = Path(kind)
    make[kind](path.name)
    print(kind, compiled.load(path, bytes), compiled.save(path, b"new", kind), compiled.load(path, bytes))
"""


@posix
def test_only_files_are_opened(tmp_path):
    job = subprocess.run(
        [sys.executable, "-c", KINDS],
        cwd=tmp_path,  # the name of a socket must be short
        capture_output=True,
        text=True,
        timeout=120,  # /dev/zero never ends, and a FIFO waits for ever
        check=False,
    )
    kinds = ["fifo", "link", "dangling", "folder", "socket", *(["device"] if os.geteuid() == 0 else [])]
    replaced = "None True b'new'"
    assert job.stdout.splitlines() == [
        f"{kind} {'None False None' if kind == 'folder' else replaced}" for kind in kinds
    ], job.stderr
    for kind in kinds:
        assert f"{kind} isn't used: it is not a file; delete it" in job.stderr


def test_an_entry_that_is_far_too_large_is_not_read(entry, caplog):
    with entry.open("r+b") as file:
        file.truncate(10**12)  # with holes: it takes no room
    assert loaded(entry) is None
    assert "it has 1000000000000 bytes, too many" in caplog.text
    assert caches.holds(entry) is False


def test_an_entry_or_a_folder_that_is_absent_is_no_warning(entry, tmp_path, caplog):
    assert loaded(entry.with_name("two-1.bin")) is None
    assert loaded(tmp_path / "nowhere" / "one-1.bin") is None
    assert caches.names(tmp_path / "nowhere") == []
    assert caches.fault(tmp_path / "nowhere") is None
    caches.remove(tmp_path / "nowhere", ["one-1.bin"])
    caches.shrink(tmp_path / "nowhere", "*")
    assert not (tmp_path / "nowhere").exists()
    assert caplog.messages == []


def test_entries_that_vanish_while_they_are_counted_are_no_error(entry, monkeypatch):
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: [*listdir(folder), "one-gone.bin"])
    assert compiled.save(entry.with_name("one-2.bin"), b"code", "one-*.bin")
    assert caches.names(entry.parent) == ["one-1.bin", "one-2.bin"]


# writing


def test_temporary_files_of_killed_processes_are_swept(entry):
    young, old = (entry.with_name(f".{name}.bin.0123456789ab.tmp") for name in ("young", "old"))
    for path in (young, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * caches._STALE,) * 2)
    compiled.save(entry.with_name("one-2.bin"), b"code", "one-*.bin")
    assert young.exists()
    assert not old.exists()
    assert caches.names(entry.parent) == ["one-1.bin", "one-2.bin"]


def test_a_full_disk_leaves_the_old_entry_and_nothing_else(entry, monkeypatch, caplog):
    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert not compiled.save(entry, b"new", "one-*.bin")
    assert os.strerror(errno.ENOSPC) in caplog.text
    monkeypatch.undo()
    assert loaded(entry) == b"code"
    assert [path.name for path in entry.parent.iterdir()] == [entry.name]


def test_a_folder_is_prepared_or_refused_by_name(tmp_path):
    caches.prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        caches.prepare(tmp_path / "file" / "b")


# two users


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may write to; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


class Planted:
    """Unpickling it leaves a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def as_user(user: int, work) -> None:
    """Do `work` in a process of another user."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            work()
            os._exit(0)
        except BaseException:
            logging.getLogger().exception("in the child")
            os._exit(1)
    deadline = time.monotonic() + 60
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(ended[1]) == 0


@root
@pytest.mark.parametrize("place", ["a folder of theirs", "a shared folder", "a sticky folder", "a link of theirs"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_nothing_that_another_user_planted_is_unpickled(shared, place, caplog):
    shared.chmod(0o1777 if place == "a sticky folder" else 0o777)
    proof, folder = shared / "proof", shared / ("real" if place == "a link of theirs" else "cache")
    entry = folder / "one-1.bin"
    if place == "a shared folder":
        folder.mkdir()
        folder.chmod(0o777)

    def plant() -> None:
        code = pickle.dumps(Planted(proof))
        folder.mkdir(exist_ok=True)
        entry.write_bytes(compiled._digest(entry, code) + code)
        if place == "a link of theirs":
            (shared / "cache").symlink_to(folder)

    as_user(OTHER, plant)
    entry = shared / "cache" / entry.name
    assert compiled.load(entry, pickle.loads) is None
    assert "isn't used as a cache" in caplog.text
    assert not compiled.save(entry, b"code", "one-*.bin")
    if place == "a shared folder":  # mended as the warning says: the entry itself is still theirs
        folder.chmod(0o755)
        assert compiled.load(entry, pickle.loads) is None
        assert "files in" in caplog.messages[-1]
    assert not proof.exists()
    # the trap works
    os.chown(folder, 0, 0)
    os.chown(entry, 0, 0)
    if place != "a link of theirs":
        compiled.load(entry, pickle.loads)
        assert proof.exists()


@root
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_user_does_not_use_what_others_keep(shared):
    shared.chmod(0o1777)
    entry = shared / "cache" / "one-1.bin"

    def first() -> None:
        assert compiled.save(entry, b"mine", "*")
        assert loaded(entry) == b"mine"

    def second() -> None:
        assert loaded(entry) is None
        assert not compiled.save(entry, b"theirs", "*")

    as_user(ME, first)
    as_user(OTHER, second)
    as_user(ME, lambda: None if loaded(entry) == b"mine" else os._exit(2))
    assert loaded(entry) is None  # neither does root


# other systems


def test_where_the_system_knows_neither_owners_nor_names_in_open_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "_user", None)
    monkeypatch.setattr(os, "supports_dir_fd", frozenset())
    entry = tmp_path / "cache" / "one-1.bin"
    for number in range(compiled._KEPT + 2):
        path = entry.with_name(f"one-{number}.bin")
        assert compiled.save(path, b"code", "one-*.bin")
        os.utime(path, (number, number))
    entry.parent.chmod(0o777)
    assert loaded(path) == b"code"
    assert loaded(entry) is None
    assert caches.names(entry.parent) == [f"one-{number}.bin" for number in range(2, compiled._KEPT + 2)]
    os.rename(path, entry)
    assert loaded(entry) is None  # under the name of another
    caches.remove(entry.parent, caches.names(entry.parent))
    assert list(entry.parent.iterdir()) == []


# what is kept by others


@posix
def test_hypothesis_gets_a_folder_of_this_user_or_a_temporary_one(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(caches, "cache_folder", lambda *parts: tmp_path.joinpath("kept", *parts))
    assert _storage(click.Context(verify)) == str(tmp_path / "kept" / "hypothesis")
    (tmp_path / "kept" / "hypothesis").chmod(0o777)
    with click.Context(verify) as context:
        folder = Path(_storage(context))
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert "chmod go-w" in caplog.text
