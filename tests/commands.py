"""The command line in the tests' own process."""

from inspect import signature

from click.testing import CliRunner, Result
from fem_core.cli import fem


def run(*arguments: object) -> Result:
    """`fem ARGUMENTS`, what it prints on stdout and on stderr apart."""
    apart = {} if "mix_stderr" not in signature(CliRunner).parameters else {"mix_stderr": False}  # click < 8.2
    return CliRunner(**apart).invoke(fem, [str(argument) for argument in arguments])
