"""Where things are printed: results on stdout, everything else on stderr."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@dataclass
class Settings:
    """What `--debug` and `-v` said, wherever on the line they stood."""

    debug: bool = False
    verbose: int = 0


def settings() -> Settings:
    """Those of the running command."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Settings) if context else None
    return found or Settings()


def console(*, err: bool = False) -> "Console":
    """A console on stdout or stderr: colour on a terminal, plain text of 80 columns elsewhere."""
    from rich.console import Console

    return Console(file=sys.stderr if err else sys.stdout, highlight=False, markup=False, emoji=False)


def show(renderable: "RenderableType", *, err: bool = False) -> None:
    """A table or text of rich, without the blanks it fills lines up with."""
    out = console(err=err)
    with out.capture() as captured:
        out.print(renderable)
    say("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), err=err)


def say(text: str = "", *, err: bool = False) -> None:
    """A line, not wrapped: it may be a command or a path to copy."""
    click.echo(text, err=err)


class _Handler(logging.Handler):
    """Warnings as `fem: warning: …`, more with -v; only the fem packages' own words below warnings."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def filter(self, record: logging.LogRecord) -> bool:
        least = (logging.WARNING, logging.INFO, logging.DEBUG)[min(self._settings.verbose, 2)]
        own = record.name.startswith("fem")
        return record.levelno >= (least if own else logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and self._settings.verbose:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        click.echo(f"fem: {record.levelname.lower()}: {text}", err=True)


@contextmanager
def logging_to_stderr(settings: Settings) -> Iterator[None]:
    """Log to stderr for as long as the block runs."""
    root, own, handler = logging.getLogger(), logging.getLogger("fem_core"), _Handler(settings)
    before = own.level
    root.addHandler(handler)
    own.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        own.setLevel(before)


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    from fem_core.results import to_json

    click.echo(to_json(value, indent=2))
