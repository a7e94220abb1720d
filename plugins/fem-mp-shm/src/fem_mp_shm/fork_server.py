"""The fork server of `multiprocessing`: one for all pools, and for what else the application starts with it.

Python keeps it in a private object. What is used of it here: the pid, the address, `_stop`, the modules that it imports
first, and the folder of its socket.
"""

import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import util
from pathlib import Path
from typing import Any

from fem_core.errors import BackendUnavailable

from fem_mp_shm.names import SHM, new_name, remove, temporary

#: The longest address of a socket, with the name that Python gives it in the folder.
_LONGEST, _SOCKET = (107 if sys.platform == "linux" else 103), len("/listener-12345678")

_folders: dict[int, Path] = {}  # by process: a fork has its own
_inherited: list[int] = []  # the server of the process that this one was forked from


def start() -> None:
    """Start the server unless it runs. Its folder has a name that a sweep finds, if this process is killed.

    Raises BackendUnavailable if there is no place for its socket, and OSError.
    """
    from multiprocessing import forkserver

    server = _server()
    if pid() in _inherited:  # only its parent may ask whether it runs
        server._forkserver_pid = server._forkserver_address = server._forkserver_alive_fd = None
    _preload(server)
    config: Any = getattr(multiprocessing.current_process(), "_config", {})
    before = config.get("tempdir")
    if pid() is None or os.getpid() in _folders:
        config["tempdir"] = str(_folder())
    try:
        forkserver.ensure_running()
    finally:
        config["tempdir"] = before


def pid() -> int | None:
    """The server's process number; None if this program has none."""
    number: int | None = getattr(_server(), "_forkserver_pid", None)
    return number


def end() -> bool:
    """Kill the server, because it doesn't answer. The next start starts another one. False if there is none."""
    number = pid()
    if number is None or number in _inherited:
        return False
    with suppress(OSError):
        if sys.platform != "win32":
            os.kill(number, signal.SIGKILL)
        _server()._stop()
    return True


def _server() -> Any:
    """Python's object for the server; None if nobody has asked for one."""
    return getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)


def _preload(server: Any) -> None:
    """Let the server import the worker's modules once, in addition to those of the application."""
    asked = [name for name in getattr(server, "_preload_modules", ()) if name != "__main__"]
    if "fem_mp_shm.in_fork_server" not in asked:
        multiprocessing.get_context("forkserver").set_forkserver_preload([*asked, "fem_mp_shm.in_fork_server"])


def _folder() -> Path:
    """The folder of the socket; this process deletes it when it ends. TMPDIR may be too long for a socket."""
    if (known := _folders.get(os.getpid())) and known.is_dir():
        return known
    reason = ""
    for place in (temporary(), SHM):
        folder = place / new_name()
        if len(os.fsencode(folder)) + _SOCKET > _LONGEST:
            reason = reason or f"the path {place} is too long for a socket"
            continue
        try:
            folder.mkdir(0o700)
        except OSError as error:
            reason = reason or f"{place}: {error.strerror}"
            continue
        _folders[os.getpid()] = folder
        util.Finalize(None, remove, (folder,), exitpriority=-100)
        return folder
    raise BackendUnavailable(
        f"the fork server can't start: {reason}; set TMPDIR to another folder, or start_method=spawn"
    )


def _forked() -> None:
    """In a process that the application forked: the server is its parent's."""
    if number := pid():
        _inherited.append(number)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
