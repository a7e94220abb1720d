"""The command line `fem`; `fem --help` is the manual.

Each command is a module of its own. It imports what it needs only when it runs: help is then quick, and works even if
something is missing or broken.
"""

import gc
import os
import sys
import threading

import click

from fem_core.cli.backends import backends
from fem_core.cli.bench import bench
from fem_core.cli.check import check
from fem_core.cli.console import say, say_help
from fem_core.cli.convert import convert
from fem_core.cli.demo import demo
from fem_core.cli.doctor import doctor
from fem_core.cli.group import Fem
from fem_core.cli.mesh import mesh
from fem_core.cli.options import everywhere
from fem_core.cli.plot import plot
from fem_core.cli.solve import solve
from fem_core.cli.tune import tune
from fem_core.cli.verify import verify
from fem_core.io.files import READER

__all__ = ["fem", "main"]


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from fem_core.support.hardware import versions

        found = versions()
        say(f"fem-core {found['fem-core']} (Python {found['python']}, numpy {found['numpy']})")
        context.exit()


@click.group(cls=Fem, invoke_without_command=True)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@everywhere
@click.pass_context
def fem(context: click.Context) -> None:
    """2D potential flow on 8-node quadrilaterals, with interchangeable backends.

    Computes the potential u, the velocity -∇u and the pressure. The conditions are
    k ∂u/∂n + p u = γ at the inlet, u = 0 at the outlet, no flow through the walls.
    A backend is a way to compute (one thread, several threads, processes, a GPU);
    all backends give the same result.

    \b
    First steps: make a mesh, solve it, draw a picture
      fem demo

    \b
    Make a mesh, solve it, save the result and a picture
      fem mesh y-tube --nodes 20000 -o tube.h5
      fem solve tube.h5 --output result.h5 --plot tube.png

    \b
    List the backends; solve with another backend and another solver
      fem backends
      fem solve tube.h5 --backend numpy --solver mg

    \b
    Convert a mesh with triangles to 8-node quadrilaterals; refine a mesh
      fem convert triangles.msh -o quads.h5
      fem convert tube.h5 --refine 1 -o fine.h5

    \b
    Check a mesh; check the installation and this machine
      fem check tube.h5 --plot tube-mesh.png
      fem doctor

    \b
    In a script: print one JSON object, write progress as JSON lines to a file
      fem solve tube.h5 --json --events progress.jsonl

    \b
    Check that a backend gives the same results as the reference
      fem verify --backend numpy

    \b
    Compare the speed of the backends
      fem bench --nodes 20000

    \b
    Find the fastest options of the backends on this machine, and save them
      fem tune

    Results go to stdout; progress, logs and errors go to stderr. An error is one
    line and says what to do.
    """
    if context.invoked_subcommand is None:
        say_help(context)


for _command in (demo, solve, plot, mesh, convert, check, backends, doctor, verify, bench, tune):
    fem.add_command(_command)


def main() -> None:
    """Run the command line and end the process with its status."""
    try:
        fem.main(sys.argv[1:])
    except SystemExit as end:
        gc.freeze()  # otherwise the interpreter searches all imported objects several times when it ends
        # A mesh that is still being read isn't needed any more.
        if any(thread.name == READER and thread.is_alive() for thread in threading.enumerate()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
