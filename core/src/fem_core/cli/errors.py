"""How a command ends: its exit status, and one line on stderr for what went wrong."""

import os
from enum import IntEnum

import click

from fem_core.errors import BackendError, Cancelled, FemError, brief, shortened
from fem_core.support.memory import lacks_memory, not_enough


class Status(IntEnum):
    """Exit status of `fem`."""

    DONE = 0
    """The command succeeded."""
    FAILED = 1
    """A check of `fem verify` failed, or an unexpected error occurred."""
    USAGE = 2
    """Wrong input or usage, a file that can't be written, or not enough memory."""
    BACKEND = 3
    """A backend is unavailable, or failed."""
    NOT_CONVERGED = 4
    """The solver did not converge; the result is still written, and flagged."""
    CANCELLED = 130
    """The run was stopped by Ctrl-C or by its `CancelToken`."""


def judge(error: BaseException) -> tuple[Status, str]:
    """The exit status for an error, and the line that reports it."""
    match error:
        case Cancelled() | KeyboardInterrupt() | click.Abort():
            return Status.CANCELLED, "fem: cancelled"
        case click.UsageError():
            return Status.USAGE, _line(_usage(error))
        case click.ClickException():
            return Status.USAGE, _line(error.format_message())
        case BackendError():
            return Status.BACKEND, _line(str(error))
        case FemError():
            return Status.USAGE, _line(str(error))
        case _ if lacks_memory(error):
            return Status.USAGE, _line(str(not_enough("the command failed", error)))
        case OSError():
            return Status.USAGE, _line(_file_trouble(error))
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Status.FAILED, _line(f"unexpected {what}; --debug shows where")


def _line(text: str) -> str:
    return "fem: error: " + brief(" ".join(text.split()))


def _usage(error: click.UsageError) -> str:
    text = error.format_message().rstrip(".")
    if error.ctx is None:
        return text
    if isinstance(error, click.NoSuchOption):
        text = text.replace(error.option_name, shortened(error.option_name))  # not in quotes, in click before 8.2
        names = [max(p.opts, key=len) for p in error.ctx.command.get_params(error.ctx) if isinstance(p, click.Option)]
        text += f"; options: {', '.join(names)}"
    return f"{text}; see {error.ctx.command_path} --help"


def _file_trouble(error: OSError) -> str:
    reason = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    paths = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    names = [shortened(os.fsdecode(path)) for path in paths]
    return f"{' -> '.join(names)}: {reason}" if names else reason
