"""`fem doctor`."""

from collections.abc import Mapping
from typing import Any

import click

from fem_core.cli.backends import timeout_option
from fem_core.cli.console import cell, print_json, say, show, show_facts
from fem_core.cli.errors import Status
from fem_core.cli.options import everywhere
from fem_core.support.wording import byte_size, count, duration


@click.command(short_help="Examine this machine and the installation; give advice.")
@click.option("--probe/--no-probe", default=True, show_default=True, help="Solve a small problem with each backend.")
@timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@everywhere
@click.pass_context
def doctor(context: click.Context, probe: bool, timeout: float, as_json: bool) -> None:
    """Examine this installation and this machine: Python and packages, cores,
    memory, shared memory, BLAS and threads, GPUs, backends and caches. Each backend
    is tested: it solves a small problem in a separate process. Advice comes last.

    \b
    Examples
      fem doctor
      fem doctor --no-probe
      fem doctor --json > doctor.json

    The test also compiles the code of the backends and saves it in their caches,
    so that your first run doesn't wait for it. On a slow machine add --timeout 300.

    Please send the output with a problem report. The only personal data in it are
    paths, and the environment variables for threads and GPUs.

    The exit status is 3 if no backend works.
    """
    from fem_core.cli.progress import Bars
    from fem_core.tools.doctor import examine

    with Bars() as bars:
        bars.begin("examine")
        found = examine(probe=probe, timeout=timeout, on_probe=lambda name: bars.begin(f"probe {name}"))
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not any(one["state"] == "ready" and one["works"] is not False for one in found["backends"]):
        context.exit(Status.BACKEND)


def _print(found: Mapping[str, Any]) -> None:
    _section("Python", _python(found["python"]))
    _section("Packages", {name: version or "not installed" for name, version in found["versions"].items()})
    _section("Machine", _machine(found))
    _section("Threads", _threads(found["threading"]))
    _section("GPUs", _gpus(found["gpus"]))
    _section("Backends", {one["name"]: _state(one) for one in found["backends"]})
    _section("Caches", {one["owner"]: _cache(one) for one in found["caches"]})
    show(cell("Advice", style="bold"))
    for line in found["advice"]:
        say(f"  - {line}")


def _section(title: str, facts: Mapping[str, str]) -> None:
    show(cell(title, style="bold"))
    show_facts(facts)
    say()


def _python(python: Mapping[str, Any]) -> dict[str, str]:
    kind = "" if not python["free_threaded"] else f", free-threaded, GIL {'on' if python['gil'] else 'off'}"
    return {
        "version": f"{python['implementation']} {python['version']}{kind}",
        "executable": python["executable"],
        "environment": python["environment"] or "none: packages are those of the system's Python",
        "platform": python["platform"],
    }


def _machine(found: Mapping[str, Any]) -> dict[str, str]:
    cores, memory, shared = found["cores"], found["memory"], found["shared_memory"]
    limits = (
        f"machine {cores['machine']}, affinity {cores['affinity'] or 'none'}, cgroup {cores['cgroup_quota'] or 'none'}"
    )
    return {
        "processor": cores["cpu"],
        "cores": f"{cores['usable']} usable ({limits})",
        "memory": f"{_bytes(memory['available'])} available of {_bytes(memory['total'])}",
        "shared memory": shared["reason"]
        or f"{shared['path']}: {_bytes(shared['free'])} free of {_bytes(shared['total'])}",
    }


def _threads(threading: Mapping[str, Any]) -> dict[str, str]:
    facts = {f"BLAS of {name}": text for name, text in threading["blas"].items()}
    if threading["libraries"] is None:
        facts["loaded"] = "unknown: threadpoolctl isn't installed"
    else:
        facts["loaded"] = ", ".join(map(_library, threading["libraries"])) or "none"
    if threading["numba_layers"] is not None:
        layers = [name if not reason else f"{name} missing" for name, reason in threading["numba_layers"].items()]
        facts["Numba's layers"] = ", ".join(layers) or "unknown"
    facts["variables"] = ", ".join(f"{name}={value}" for name, value in threading["variables"].items()) or "none"
    return facts


def _library(one: Mapping[str, Any]) -> str:
    layer = f" ({one['threading_layer']})" if one["threading_layer"] else ""
    threads = f" with {count(one['num_threads'], 'thread')}" if one["num_threads"] else ""  # it isn't always known
    return f"{one['internal_api']}{layer}{threads}"


def _gpus(gpus: Mapping[str, Any]) -> dict[str, str]:
    facts = {"driver": f"{gpus['driver'] or 'unknown version'}, for CUDA up to {gpus['cuda']}"} if gpus["cuda"] else {}
    for number, one in enumerate(gpus["devices"]):
        facts[f"device {number}"] = f"{one['name']}, {_bytes(one['memory'])}, capability {one['compute_capability']}"
    return facts if gpus["devices"] else {**facts, "none": gpus["reason"]}


def _state(one: Mapping[str, Any]) -> str:
    took = f" in {duration(one['seconds'])}" if one["seconds"] is not None else ""
    tuned = f"; {one['tuned']}" if one["tuned"] else ""
    if one["works"] is None:
        return f"{one['state']}{': ' * bool(one['reason'])}{one['reason']} ({one['distribution']}){tuned}"
    if one["works"]:
        return f"works: solved a small duct{took} ({one['distribution']}){tuned}"
    return f"does not work: {one['reason']} ({one['distribution']})"


def _cache(one: Mapping[str, Any]) -> str:
    if one["fault"]:
        return f"{one['what']}: not used, {one['path']}"
    limit = "" if one["limit"] is None else f" of {_bytes(one['limit'])}" if one["limit"] else "; off (FEM_CACHE_MB)"
    if not one["files"]:
        return f"{one['what']}: empty{limit}"
    return f"{one['what']}: {_bytes(one['bytes'])}{limit} in {count(one['files'], 'file')}, {one['path']}"


def _bytes(number: float | None) -> str:
    return "unknown" if number is None else byte_size(number)
