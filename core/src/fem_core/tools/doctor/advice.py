"""What to do on this machine, from what was found."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fem_core.support.wording import byte_size, count, pip_install
from fem_core.tools.doctor.installation import checkout, install_command, version

_SMALL = 1 << 30  # bytes that arrays of a mesh of some 1.5 million nodes take in shared memory

#: Plugins of this project: folder in plugins/, what for, and whether for machines with a GPU.
_PLUGINS = (
    ("fem-numba", "compiles every stage", False),
    ("fem-mp-shm", "spreads assembly over processes", False),
    ("fem-cupy", "computes on the GPU", True),
    ("fem-cuda", "computes on the GPU", True),
)


def advise(found: Mapping[str, Any]) -> Iterator[str]:
    """What to do on this machine, the most urgent first."""
    for stranger in found["strangers"]:
        yield f"{stranger}; uninstall it, then install this project by path: {install_command('core')}"
    for name, failure in found["plugin_failures"].items():
        yield f"the plugin {name} is ignored ({failure}); repair or uninstall it"
    for one in found["backends"]:
        if one["works"] is False:
            yield f"{one['name']} can't be used: {one['reason']}"
        elif one["state"] in ("failed", "incompatible", "conflict"):
            yield f"{one['name']} is {one['state']}: {one['reason']}"
    yield from _backend(found["backends"], bool(found["gpus"]["devices"]))
    yield from _installable(found)
    yield from _limits(found)


def _backend(backends: Iterable[Mapping[str, Any]], gpu: bool) -> Iterator[str]:
    """Which backend to use. `auto` goes by rank, tries those that must prepare last, and doesn't probe.

    Without a GPU, a GPU backend that fails its probe doesn't matter: `auto` skips it with a note.
    """
    ready = [one for one in backends if one["state"] == "ready"]
    for one in ready:
        if one["prepared"]:
            yield f"{one['name']} had to {one['prepared']}; this is done now"
        elif one["pending"]:
            yield f"{one['name']} has to {one['pending']}, and until then auto uses others; `fem doctor` does it"
    ready.sort(key=lambda one: (one["pending"] is not None, -(one["rank"] or 0)))
    best = next((one for one in ready if one["works"] is not False), None)
    if best is None:
        yield f"no backend works; install the core again: {install_command('core')}"
    elif best["works"] is None:  # --no-probe: not known whether it can be opened
        yield f"auto tries {best['name']} first; `fem doctor` without --no-probe tests whether it works"
    elif broken := [one["name"] for one in ready[: ready.index(best)] if gpu or one["device"] != "cuda"]:
        yield (
            f"auto tries {' and '.join(broken)} first, whose probe failed: "
            f"give --backend {best['name']}, or set FEM_DISABLE={','.join(broken)}"
        )
    else:
        yield f"use --backend {best['name']}; auto chooses it on this machine"


def _installable(found: Mapping[str, Any]) -> Iterator[str]:
    cores, gpu = found["cores"]["usable"], bool(found["gpus"]["devices"])
    root = checkout()
    for name, what, for_gpu in _PLUGINS:
        known = root is None or (root / "plugins" / name).is_dir()
        if known and version(name) is None and (gpu if for_gpu else cores > 1):
            yield f"{name} {what} and isn't installed: {install_command('core', f'plugins/{name}')}"
    for extra, names in found["missing_extras"].items():
        yield f"for the extra {extra!r}: {pip_install(*names)}"


def _limits(found: Mapping[str, Any]) -> Iterator[str]:
    cores, memory, shared = found["cores"], found["memory"], found["shared_memory"]
    if cores["machine"] and cores["usable"] < cores["machine"]:
        why = (
            "its affinity" if (cores["affinity"] or cores["machine"]) <= cores["usable"] else "the quota of its cgroup"
        )
        yield f"this process may use only {cores['usable']} of {cores['machine']} cores, because of {why}"
    wide = [one for one in found["threading"]["libraries"] or () if (one["num_threads"] or 1) > cores["usable"]]
    if wide:
        name = wide[0]["internal_api"]
        usable, started = cores["usable"], wide[0]["num_threads"]
        yield f"{name} would start {count(started, 'thread')} on {count(usable, 'core')}: set OMP_NUM_THREADS={usable}"
    if memory["largest_mesh"]:
        sizes = " and ".join(f"{_millions(n)} nodes with {name}" for name, n in memory["largest_mesh"].items())
        yield f"the memory is enough for about {sizes}"
    if shared["path"] is None or not shared["writable"]:
        yield f"{shared['reason']}: mp-shm uses shared files instead, which are slower"
    elif shared["free"] < _SMALL:
        left = byte_size(shared["free"])
        yield f"{shared['path']} has {left} left: for large meshes mp-shm uses shared files instead, which are slower"
    yield from (one["fault"] for one in found["caches"] if one["fault"])
    patterns = found["caches"][0]
    if patterns["limit"] == 0 and patterns["bytes"]:
        yield f"FEM_CACHE_MB isn't set, so {patterns['path']} isn't used; you may delete it"


def _millions(nodes: int) -> str:
    return f"{nodes / 1e6:.2g} million" if nodes < 1e8 else "100 million"
