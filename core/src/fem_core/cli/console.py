"""Where things are printed: results on stdout, everything else on stderr; names can't act on the terminal."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from fem_core.plugins.manners import KEPT
from fem_core.support.wording import count, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text


@dataclass
class Settings:
    """The values of `--debug` and `-v`, which may stand anywhere on the command line."""

    debug: bool = False
    verbose: int = 0


def settings() -> Settings:
    """The settings of the running command."""
    context = click.get_current_context(silent=True)
    return (context and context.find_object(Settings)) or Settings()


class _Stdout:
    """Keeps stdout for what a command prints. What plugins, libraries and workers print there goes to stderr."""

    def __init__(self) -> None:
        self._given: TextIO | None = None
        self._own: TextIO | None = None

    @property
    def stream(self) -> TextIO:
        return self._own or sys.stdout

    def take(self) -> None:
        given = sys.stdout
        if given is None or sys.stderr is None or self._own:
            return
        given.flush()
        self._given = self._own = given
        with suppress(OSError):  # a stream of Python only, as in a test
            if given.fileno() == 1 and not given.isatty():  # on a terminal both are the same
                elsewhere = sys.stderr.fileno()
                private = os.dup(1)  # not inherited: a worker can't write there
                os.dup2(elsewhere, 1)
                KEPT.add(private)
                self._own = os.fdopen(private, "w", encoding=given.encoding, errors=given.errors)
        sys.stdout = sys.stderr

    def give_back(self) -> None:
        given, own = self._given, self._own
        if given is None or own is None:
            return
        sys.stdout, self._given, self._own = given, None, None
        if own is not given:
            with suppress(OSError, ValueError):
                given.flush()  # what others left in its buffer isn't the command's
            with suppress(OSError, ValueError):
                KEPT.discard(own.fileno())
                os.dup2(own.fileno(), 1)
            with suppress(OSError):  # a reader that has gone, or a full disk: the command has told this
                own.close()


_STDOUT = _Stdout()


def stdout() -> TextIO:
    """The stream for what the command prints; None if it was closed before the start."""
    return _STDOUT.stream


@contextmanager
def own_stdout() -> Iterator[None]:
    """Only `say`, `show` and `print_json` write to stdout while the block runs, so that JSON stays JSON."""
    _STDOUT.take()
    try:
        yield
    finally:
        _STDOUT.give_back()


@contextmanager
def lent_stdout() -> Iterator[None]:
    """Within `own_stdout`: the block is a plugin's command, which prints as it likes."""
    _STDOUT.give_back()
    try:
        yield
    finally:
        _STDOUT.take()


class _Lasting:
    """stderr for bars: a terminal that has gone ends no run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            let_go(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            let_go(self._stream)


def console(*, err: bool = False) -> "Console":
    """A console on stdout or stderr: colour on a terminal, plain text of 80 columns elsewhere."""
    from rich.console import Console

    file: Any = _Lasting(sys.stderr) if err and sys.stderr else sys.stderr if err else stdout()
    return Console(file=file, highlight=False, markup=False, emoji=False)


def cell(*lines: str, style: str = "") -> "Text":
    """Text of a table. A name can't break its line, or act on the terminal."""
    from rich.text import Text

    return Text("\n".join(map(visible, lines)), style)


class _Visible:
    """What a renderable shows, without characters that act on a terminal."""

    def __init__(self, renderable: "RenderableType") -> None:
        self._renderable = renderable

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Segment]":
        for segment in console.render(self._renderable, options):
            yield segment._replace(text="\n".join(map(visible, segment.text.split("\n"))))


def show(renderable: "RenderableType", *, err: bool = False) -> None:
    """Print a table or text of rich, without the blanks at the ends of its lines."""
    out = console(err=err)
    with out.capture() as captured:
        out.print(_Visible(renderable))
    _print("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), err)


#: Lines of a listing; the rest is only counted: a terminal isn't the place for thousands.
MOST_LINES = 40


def left_out(number: int, what: str) -> list[str]:
    """The line at the end of a listing of `number` things, if it doesn't give all."""
    return [f"… {count(number - MOST_LINES, f'more {what}')}: --json lists all"] if number > MOST_LINES else []


def show_facts(facts: Mapping[str, str]) -> None:
    """Print names and texts in two indented columns."""
    from rich.padding import Padding
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(cell(name), cell(fact))
    show(Padding(table, (0, 0, 0, 2)))


def say(text: str = "", *, label: str = "", colour: str | None = None, err: bool = False) -> None:
    """Print a line, after a label in colour. It is not wrapped, because it may be a command or a path to copy."""
    head = f"{click.style(label, fg=colour)}: " if label else ""
    _print(head + visible(text), err)


def say_help(context: click.Context) -> None:
    """Print the help of a command."""
    for line in context.get_help().split("\n"):
        say(line)


def _print(text: str, err: bool) -> None:
    if not err:
        click.echo(text, file=stdout())
        return
    try:
        click.echo(text, err=True)
    except OSError:  # a full disk, or a reader that has gone: a message that is lost changes no result
        let_go(sys.stderr)


def let_go(stream: TextIO) -> None:
    """Let what is still in a stream, and what follows, go nowhere; otherwise Python's last flush would fail, too."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


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
        lines = f"fem: {record.levelname.lower()}: {text}".splitlines()
        for number, line in enumerate(lines):
            say(f"{'    ' * bool(number)}{line}", err=True)  # indented: it can't pass for a message of another kind


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


def print_json(value: Any, indent: int | None = 2) -> None:
    """One JSON value on stdout."""
    from fem_core.results import to_json

    _print(to_json(value, indent=indent), err=False)
