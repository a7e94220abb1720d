"""Checks the hooks of a plugin before any of them is called."""

import inspect
from typing import Any, Literal, TypeAlias

from fem_core.errors import BackendError, FemError
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.hookspecs import PROJECT, SPECS, ComputeHooks, EventHooks, names
from fem_core.plugins.stages import STAGES
from fem_core.support.wording import nearest

Role: TypeAlias = Literal["backend", "observer", "plugin"]

_MARK = f"{PROJECT}_impl"
_SPEC = {name: getattr(spec, name) for spec in SPECS for name in names(spec)}
#: The hooks of the stages.
COMPUTE = frozenset(names(ComputeHooks))
_ALLOWED: dict[Role, frozenset[str]] = {
    "backend": COMPUTE,
    "observer": COMPUTE | set(names(EventHooks)),
    "plugin": frozenset(_SPEC),
}


def implementations(plugin: object) -> dict[str, dict[str, Any]]:
    """The hooks that `plugin` implements, each with its mark's settings.

    Raises
    ------
    FemError
        For a `fem_*` callable that isn't a hook, isn't marked, or whose parameters aren't plain names
        of the hook's arguments, and for a marked function of another name. pluggy would ignore these,
        or call them for another hook, without a message.
    """
    found = {}
    who = describe(plugin)
    for name in dir(plugin):
        if not name.startswith("fem_"):
            if hasattr(inspect.getattr_static(plugin, name, None), _MARK):
                raise FemError(f"{who}: {name} is marked with @fem_core.plugins.hookimpl but has no hook's name")
            continue
        if not callable(function := getattr(plugin, name)):
            continue
        if name not in _SPEC:
            near = nearest(name, _SPEC)
            hint = f"did you mean {near}?" if near else f"hooks: {', '.join(_SPEC)}"
            raise FemError(f"{who}: {name} is not a hook; {hint}")
        mark = getattr(function, _MARK, None)
        if mark is None:
            raise FemError(f"{who}: {name} is not marked; decorate it with @fem_core.plugins.hookimpl")
        if not inspect.isroutine(function) or mark["specname"] not in (None, name):
            raise FemError(f"{who}: {name} must be a function or method with the name of its hook")
        accepted = [p for p in inspect.signature(_SPEC[name]).parameters if p != "self"]
        for parameter in inspect.signature(function).parameters.values():
            plain = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
            if not plain or parameter.name not in accepted:
                raise FemError(
                    f"{who}: {name} has the parameter {str(parameter)!r}; accepted are {', '.join(accepted)}, "
                    "with these names and without defaults"
                )
        found[name] = mark
    return found


def check_plugin(plugin: object, role: Role) -> None:
    """Raises FemError unless `plugin` has hooks, and all of them are sound and allowed in its role."""
    who, a_role = describe(plugin), f"an {role}" if role == "observer" else f"a {role}"
    found = implementations(plugin)
    if not found and role != "backend":
        raise FemError(f"{who} has no hook, so {a_role} it can't be; hooks: {', '.join(sorted(_ALLOWED[role]))}")
    for name, mark in found.items():
        wraps = mark["wrapper"]
        if mark["hookwrapper"]:
            raise FemError(f"{who}: {name} is an old-style wrapper; use @fem_core.plugins.hookimpl(wrapper=True)")
        if wraps and not inspect.isgeneratorfunction(getattr(plugin, name)):
            raise FemError(f"{who}: {name} is a wrapper, so it must have a `yield`")
        if name not in _ALLOWED[role]:
            raise FemError(f"{who}: {name} can't be implemented by {a_role}")
        if name in COMPUTE and role != "backend" and not wraps:
            raise FemError(
                f"{who}: {name} is provided by backends; {a_role} may only wrap it "
                "(@fem_core.plugins.hookimpl(wrapper=True))"
            )
        if wraps and (role == "backend" or name not in COMPUTE):
            raise FemError(f"{who}: {name} can't be a wrapper here")


def check_backend(info: BackendInfo, backend: Backend) -> None:
    """Raises BackendError unless `backend` implements the hooks of just the stages that `info` lists."""
    try:
        check_plugin(backend, "backend")
    except FemError as error:
        raise BackendError(f"backend {info.name!r}: {error}") from None
    has = {stage.name for stage in STAGES.values() if stage.hook in implementations(backend)}
    if missing := set(info.stages) - has:
        raise BackendError(f"backend {info.name!r} lists the stages {sorted(missing)} but has no hook for them")
    if extra := has - set(info.stages):
        raise BackendError(f"backend {info.name!r} has hooks for the stages {sorted(extra)} but doesn't list them")


def describe(plugin: object) -> str:
    """The name by which messages call a plugin."""
    return plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__name__
