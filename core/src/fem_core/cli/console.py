"""Where things are printed: results on stdout, everything else on stderr."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from fem_core.support.wording import count

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@dataclass
class Settings:
    """The values of `--debug` and `-v`, which may stand anywhere on the command line."""

    debug: bool = False
    verbose: int = 0


def settings() -> Settings:
    """The settings of the running command."""
    context = click.get_current_context(silent=True)
    return (context and context.find_object(Settings)) or Settings()


def console(*, err: bool = False) -> "Console":
    """A console on stdout or stderr: colour on a terminal, plain text of 80 columns elsewhere."""
    from rich.console import Console

    return Console(file=sys.stderr if err else sys.stdout, highlight=False, markup=False, emoji=False)


def show(renderable: "RenderableType", *, err: bool = False) -> None:
    """Print a table or text of rich, without the blanks at the ends of its lines."""
    out = console(err=err)
    with out.capture() as captured:
        out.print(renderable)
    say("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), err=err)


#: Lines of a listing; the rest is only counted: a terminal isn't the place for thousands.
MOST_LINES = 40


def left_out(number: int, what: str) -> list[str]:
    """The line at the end of a listing of `number` things, if it doesn't give all."""
    return [f"… {count(number - MOST_LINES, f'more {what}')}: --json lists all"] if number > MOST_LINES else []


def show_facts(facts: Mapping[str, str]) -> None:
    """Print names and texts in two indented columns."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(Text(name), Text(fact))
    show(Padding(table, (0, 0, 0, 2)))


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line. It is not wrapped, because it may be a command or a path to copy."""
    click.echo(text, err=err)


class _Handler(logging.Handler):
    """Prints warnings as `fem: warning: …`, and with -v also the messages of the fem packages at lower levels."""

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
    """Log to stderr while the block runs."""
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
