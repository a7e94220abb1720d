"""What the command line does before anything else is imported, and how it starts other Python processes.

`fem_core` imports this module first. A module of the current folder, such as `numpy.py`, is never imported by the
command line or by a process that it starts; and Ctrl-C has its answer while Python still imports.
"""

import os
import sys

TYPE_CHECKING = False  # `typing` isn't imported yet, and the current folder may have one
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

#: The environment of Python processes that others start for us: they don't search the current folder.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def python(*arguments: str) -> list[str]:
    """The command of a new Python process, which doesn't search the current folder."""
    return [sys.executable, "-P", *arguments]


def program(name: str) -> str | None:
    """The path of a program. Windows would search the current folder first; here only absolute folders count."""
    name += ".exe" if sys.platform == "win32" else ""
    paths = (os.path.join(folder, name) for folder in os.get_exec_path() if os.path.isabs(folder))
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def _is_module(argv: "Sequence[str]", original: "Sequence[str]") -> bool:
    """Whether this process is `python -m fem_core`, and Python still imports the package.

    >>> _is_module(["-m", "demo"], ["python", "-m", "fem_core", "demo"])
    True
    >>> _is_module(["-m", "demo"], ["python", "-m", "pytest", "demo"])
    False
    """
    last = original[-len(argv)] if argv[:1] == ["-m"] and len(argv) <= len(original) else ""
    return last == "fem_core" or (last.startswith("-") and last.endswith("mfem_core"))


def _is_script(argv: "Sequence[str]") -> bool:
    """Whether this process is the script `fem`."""
    return bool(argv) and os.path.basename(argv[0]) in ("fem", "fem.exe")


def _forget_folder() -> None:
    """Remove the current folder, which `python -m` has put first, from the places where modules are searched."""
    try:
        here = os.getcwd()
    except OSError:  # it was deleted, so Python has not put it there
        return
    if not sys.flags.safe_path and sys.path[:1] == [here]:
        del sys.path[0]


def _forget_empty_entries() -> None:
    """Remove the empty entries of PYTHONPATH, which mean the current folder: `PYTHONPATH=$PYTHONPATH:folder` has one.

    An entry `.` is there on purpose, and stays.
    """
    given = os.environ.get("PYTHONPATH", "")
    entries = [entry for entry in given.split(os.pathsep) if entry]
    if sys.flags.ignore_environment or not given or given == os.pathsep.join(entries):
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(entries)  # for the processes that this one starts
    try:
        here = os.getcwd()
    except OSError:  # it was deleted
        return
    wanted = [*map(os.path.abspath, entries), os.path.abspath(os.path.join(__file__, *[os.pardir] * 3))]
    if here not in wanted:
        sys.path[:] = [entry for entry in sys.path if entry not in ("", here)]


def _answer_ctrl_c() -> None:
    """Let Ctrl-C end this process with one line, from now on and until the commands can say it themselves."""
    import signal

    def interrupt(number: int, frame: "FrameType | None") -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    def report(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
        if not interrupts:
            sys.__excepthook__(kind, error, trace)
            return
        sys.stderr.write("fem: cancelled\n")
        sys.exit(130)

    interrupts: list[int] = []  # a library may turn Ctrl-C into an error of its own: NumPy says that it is broken
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
        sys.excepthook = report


_module = _is_module(sys.argv, sys.orig_argv)
if _module:
    _forget_folder()
if _module or _is_script(sys.argv):
    _forget_empty_entries()
    _answer_ctrl_c()
