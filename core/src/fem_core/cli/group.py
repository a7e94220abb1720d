"""The group behind `fem`: commands in sections, also those of plugins, and the exit status."""

import logging
import os
import sys
import traceback
from contextlib import nullcontext
from typing import Any

import click

from fem_core.cli.console import Settings, lent_stdout, let_go, logging_to_stderr, own_stdout, say, stdout
from fem_core.cli.errors import Status, judge
from fem_core.errors import Cancelled
from fem_core.plugins.registry import REGISTRY
from fem_core.support.blas import reserve_buffers
from fem_core.support.wording import did_you_mean

_log = logging.getLogger(__name__)

#: Headings of `fem --help`; a command that isn't here is a plugin's.
SECTIONS = {
    "Solving": ("demo", "solve", "plot"),
    "Meshes": ("mesh", "convert", "check"),
    "Backends": ("backends", "doctor", "verify", "bench", "tune"),
}

_STATUS = """\
0 solved; 1 a backend failed fem verify, or an unexpected error;
2 wrong input or usage; 3 backend unavailable or failed;
4 not converged (the result is still written, and flagged); 130 cancelled.
"""


class Names(click.Group):
    """A group whose error for an unknown name lists the known names."""

    what, cutoff = "command", 0.6

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            hint = did_you_mean(args[0].lower(), known, self.cutoff)
            raise click.UsageError(f"there is no {self.what} {args[0]!r}{hint}; {self.what}s: {', '.join(known)}", ctx)
        return super().resolve_command(ctx, args)


class Fem(Names):
    """A group that ends with the exit statuses of `Status`. A broken plugin can't break its help."""

    def main(self, args: Any = None, *, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run and end the process: errors are one line on stderr, a traceback comes with --debug only."""
        extra["prog_name"] = extra.get("prog_name") or "fem"
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # a ‖ in a message must not fail in an ASCII terminal
        settings = extra.setdefault("obj", Settings())
        completing = f"_{extra['prog_name'].upper()}_COMPLETE" in os.environ  # click then prints for the shell
        with logging_to_stderr(settings), nullcontext() if completing else own_stdout():
            try:
                status = super().main(args, standalone_mode=False, **extra)
                if stdout() is not None:
                    stdout().flush()
            except SystemExit:
                raise
            except BaseException as error:
                status = _tell(error, settings)
        sys.exit(status)

    def invoke(self, ctx: click.Context) -> int:
        """Run a command. Its return value is ignored; it calls `ctx.exit` to give another status than 0."""
        try:
            reserve_buffers()
            super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Cancelled("interrupted") from error
        return Status.DONE

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        found = super().resolve_command(ctx, args)
        if found[0] not in self.commands:
            ctx.with_resource(lent_stdout())
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *_plugin_commands(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or _plugin_commands(self.commands).get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        placed = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in placed)
        for title, names in {**SECTIONS, "From plugins": others}.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name, one.get_short_help_str(limit=64)) for name, one in found if one and not one.hidden]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit status"):
            formatter.write("".join(f"  {line}\n" for line in _STATUS.splitlines()))
        formatter.write("\n'fem COMMAND --help' explains a command, with examples.\n")


def _plugin_commands(taken: Any) -> dict[str, click.Command]:
    """The commands of always-on plugins by name. A plugin can't replace a command of the core."""
    found: dict[str, click.Command] = {}
    for command in REGISTRY.extensions("fem_cli_commands"):
        name = getattr(command, "name", None)
        if not isinstance(command, click.Command) or not name:
            _log.warning("a plugin's fem_cli_commands returned %r, which isn't a command; it is ignored", command)
        elif name in taken or name in found:
            _log.warning("a plugin's command %r is ignored: another command has this name", name)
        else:
            found[name] = command
    return found


def _tell(error: BaseException, settings: Settings) -> int:
    """Print the error, unless it only says that the reader of stdout has gone."""
    try:
        if stdout() is not None:
            stdout().flush()
    except OSError:  # the reader has gone, or the disk is full
        let_go(stdout())
    if isinstance(error, BrokenPipeError):
        return Status.FAILED
    if settings.debug:
        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line, err=True)
    status, line = judge(error)
    say(line, err=True)
    return status
