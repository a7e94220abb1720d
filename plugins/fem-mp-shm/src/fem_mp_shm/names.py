"""Names of what a process leaves in folders that all share, and the removal of what dead processes have left.

A name contains its owner: pid namespace, pid, start time and a nonce. Anybody may put a file there, so a name that
isn't ours in every part, and a file that another user owns, is not looked at.
"""

import os
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from fem_core.errors import BackendError

#: Where Linux shows shared memory by name.
SHM = Path("/dev/shm")

_NAME = re.compile(r"fem-([0-9]{1,20})-([1-9][0-9]{0,9})-([0-9]{1,20})-[0-9a-f]{8}-[0-9]{1,20}")
_LAST_PID = 2**31 - 1
_NONCE = secrets.token_hex(4)
_numbers = count()


def new_name() -> str:
    """A name that no other process gives."""
    pid = os.getpid()
    return f"fem-{_namespace()}-{pid}-{_started(pid)}-{_NONCE}-{next(_numbers)}"


def temporary() -> Path:
    """The folder for temporary files. Raises BackendError if there is none."""
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise BackendError("no folder for temporary files can be written to; set TMPDIR to one that can") from error


def sweep(dead: int | None = None) -> list[str]:
    """Delete the files, segments and folders of dead processes of this machine. Returns their names.

    `dead` is the pid of a process that has ended, even if the system still lists it.
    """
    swept: list[str] = []
    for entry in _entries():
        if owner := _owner(entry.name):
            with suppress(OSError):
                if _is_own(entry) and (owner[0] == dead or not _alive(*owner)):
                    remove(Path(entry.path))
                    swept.append(entry.name)
    return swept


def sweep_after(pid: int, seconds: float = 0.5) -> None:
    """Wait until a process that seems to end has ended, and sweep."""
    deadline, began = time.monotonic() + seconds, _started(pid)
    while began and _started(pid) == began and time.monotonic() < deadline:
        time.sleep(0.01)
    sweep()


def remove(path: Path) -> None:
    """Delete a file, or a folder with the files in it; nothing if it isn't there."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        else:
            path.unlink()


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped by a signal or a debugger; False where the system doesn't tell."""
    return _status(pid)[:1] in (["T"], ["t"])


def _entries() -> Iterator["os.DirEntry[str]"]:
    """What is in the folders that all processes share."""
    folders = [SHM]
    with suppress(BackendError):
        folders.append(temporary())
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            yield from entries


def _owner(name: str) -> tuple[int, int] | None:
    """Pid and start time in a name of a process of this pid namespace; None for any other name."""
    parts = _NAME.fullmatch(name)
    if parts is None or parts[1] != _namespace() or int(parts[2]) > _LAST_PID:
        return None
    return int(parts[2]), int(parts[3])


def _is_own(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a file or a folder of this user."""
    if sys.platform == "win32":
        return False  # Windows frees shared memory with its last user
    else:
        found = entry.stat(follow_symlinks=False)
        return found.st_uid == os.geteuid() and (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))


def _alive(pid: int, started: int) -> bool:
    """Whether the process that began at `started` still runs. Another process may have got its pid since."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not started or _started(pid) == started


def _started(pid: int) -> int:
    """Start of the process in ticks after the machine's; 0 if the system doesn't tell or the process has ended."""
    fields = _status(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else 0


def _status(pid: int) -> list[str]:
    """What Linux tells of a process after its name, its state first; empty elsewhere, and if there is no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _namespace() -> str:
    """The pid namespace: containers may share /dev/shm, but number their processes separately."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"
