"""One run's hooks: who may implement what, and calling the one provider of a stage."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import pluggy

from fem_core.backend import HOOKS, Backend, BackendInfo
from fem_core.errors import BackendError, FemError
from fem_core.hookspecs import PROJECT, SPECS, ComputeHooks, EventHooks, ExtensionHooks, names
from fem_core.types import Stage

Role: TypeAlias = Literal["backend", "observer", "plugin"]

_MARK = f"{PROJECT}_impl"
_SPEC = {name: getattr(spec, name) for spec in SPECS for name in names(spec)}
_COMPUTE = frozenset(names(ComputeHooks))
_ALLOWED: dict[Role, frozenset[str]] = {
    "backend": _COMPUTE | {"fem_linear_solvers"},
    "observer": _COMPUTE | set(names(EventHooks)),
    "plugin": frozenset(_SPEC),
}


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows the hooks and nothing else."""
    manager = pluggy.PluginManager(PROJECT)
    for spec in SPECS:
        manager.add_hookspecs(spec)
    return manager


def implementations(plugin: object) -> dict[str, dict[str, Any]]:
    """The hooks that `plugin` implements, each with its mark's settings.

    Raises
    ------
    FemError
        For a `fem_*` callable that isn't a hook, isn't marked, or whose parameters aren't plain names
        of the hook's arguments. Each of these would otherwise be ignored without a word.
    """
    found = {}
    who = _describe(plugin)
    for name in dir(plugin):
        if not name.startswith("fem_") or not callable(function := getattr(plugin, name)):
            continue
        if name not in _SPEC:
            near = difflib.get_close_matches(name, _SPEC, n=1)
            hint = f"did you mean {near[0]}?" if near else f"hooks: {', '.join(_SPEC)}"
            raise FemError(f"{who}: {name} is not a hook; {hint}")
        mark = getattr(function, _MARK, None)
        if mark is None:
            raise FemError(f"{who}: {name} is not marked; decorate it with @fem_core.hookimpl")
        accepted = [p for p in inspect.signature(_SPEC[name]).parameters if p != "self"]
        for parameter in inspect.signature(function).parameters.values():
            plain = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
            if not plain or parameter.name not in accepted:
                raise FemError(
                    f"{who}: {name} has the parameter {str(parameter)!r}; it may take {', '.join(accepted)}, "
                    "by these names and without defaults"
                )
        found[name] = mark
    return found


def check_plugin(plugin: object, role: Role) -> None:
    """Raises FemError unless all hooks of `plugin` are sound and allowed in its role."""
    for name, mark in implementations(plugin).items():
        wraps = mark["wrapper"] or mark["hookwrapper"]
        who = _describe(plugin)
        if name not in _ALLOWED[role]:
            raise FemError(f"{who}: {name} can't be implemented by a {role}")
        if name in _COMPUTE and role != "backend" and not wraps:
            raise FemError(
                f"{who}: {name} is provided by backends; an {role} may only wrap it "
                "(@fem_core.hookimpl(wrapper=True))"
            )
        if wraps and (role == "backend" or name not in _COMPUTE):
            raise FemError(f"{who}: {name} can't be a wrapper here")


def check_backend(info: BackendInfo, backend: Backend) -> None:
    """Raises BackendError unless `backend` implements the hooks of just the stages that `info` lists."""
    try:
        check_plugin(backend, "backend")
    except FemError as error:
        raise BackendError(f"backend {info.name!r}: {error}") from None
    has = {stage for stage, hook in HOOKS.items() if hook in implementations(backend)}
    if missing := set(info.stages) - has:
        raise BackendError(f"backend {info.name!r} lists the stages {sorted(missing)} but has no hook for them")
    if extra := has - set(info.stages):
        raise BackendError(f"backend {info.name!r} has hooks for the stages {sorted(extra)} but doesn't list them")


class Hooks:
    """The hooks of one run: the core's, the chosen backends', the observers' and always-on plugins'."""

    def __init__(
        self,
        core: Backend,
        backends: Iterable[tuple[BackendInfo, Backend]],
        observers: Iterable[object],
        plugins: Iterable[tuple[str, object]],
    ) -> None:
        self.manager = new_manager()
        self._providers: dict[str, Backend] = {"core": core}
        self.manager.register(core, "core")
        for info, backend in backends:
            self._providers[info.name] = backend
            self.manager.register(backend, info.name)
        for name, plugin in plugins:
            self.manager.register(plugin, name)
        for number, observer in enumerate(observers):
            check_plugin(observer, "observer")
            self.manager.register(observer, f"{type(observer).__name__} (observer {number})")

    def call(self, stage: Stage, provider: str, **arguments: Any) -> Any:
        """The result of `provider`'s hook for `stage`, called inside the wrappers and alone."""
        others = [plugin for name, plugin in self._providers.items() if name != provider]
        return self.manager.subset_hook_caller(HOOKS[stage], others)(**arguments)

    def extensions(self, name: str) -> list[Any]:
        """What the plugins add through an extension hook, in order of registration."""
        assert name in names(ExtensionHooks)
        return [item for items in reversed(getattr(self.manager.hook, name)()) for item in items]


def _describe(plugin: object) -> str:
    return plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__name__
