"""One run's hooks: who may implement what, and calling the one provider of a stage."""

import difflib
import functools
import inspect
import logging
from collections.abc import Callable, Generator, Iterable
from typing import Any, Literal, TypeAlias

import pluggy

from fem_core.backend import HOOKS, Backend, BackendInfo
from fem_core.errors import BackendError, FemError
from fem_core.hookspecs import PROJECT, SPECS, ComputeHooks, EventHooks, hookimpl, names
from fem_core.types import Stage

_log = logging.getLogger(__name__)

Role: TypeAlias = Literal["backend", "observer", "plugin"]

_MARK = f"{PROJECT}_impl"
_SPEC = {name: getattr(spec, name) for spec in SPECS for name in names(spec)}
_COMPUTE = frozenset(names(ComputeHooks))
_ALLOWED: dict[Role, frozenset[str]] = {
    "backend": _COMPUTE,
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
        of the hook's arguments, and for a marked function of another name. Each of these would
        otherwise be ignored, or called in another's place, without a word.
    """
    found = {}
    who = _describe(plugin)
    for name in dir(plugin):
        if not name.startswith("fem_"):
            if hasattr(inspect.getattr_static(plugin, name, None), _MARK):
                raise FemError(f"{who}: {name} is marked with @fem_core.hookimpl but has no hook's name")
            continue
        if not callable(function := getattr(plugin, name)):
            continue
        if name not in _SPEC:
            near = difflib.get_close_matches(name, _SPEC, n=1)
            hint = f"did you mean {near[0]}?" if near else f"hooks: {', '.join(_SPEC)}"
            raise FemError(f"{who}: {name} is not a hook; {hint}")
        mark = getattr(function, _MARK, None)
        if mark is None:
            raise FemError(f"{who}: {name} is not marked; decorate it with @fem_core.hookimpl")
        if not inspect.isroutine(function) or mark["specname"] not in (None, name):
            raise FemError(f"{who}: {name} must be a function or method, and implement the hook of its own name")
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
        wraps = mark["wrapper"]
        who, a_role = _describe(plugin), f"an {role}" if role == "observer" else f"a {role}"
        if mark["hookwrapper"]:
            raise FemError(f"{who}: {name} is a wrapper of the old kind; use @fem_core.hookimpl(wrapper=True)")
        if wraps and not inspect.isgeneratorfunction(getattr(plugin, name)):
            raise FemError(f"{who}: {name} is a wrapper, so it must have a `yield`")
        if name not in _ALLOWED[role]:
            raise FemError(f"{who}: {name} can't be implemented by {a_role}")
        if name in _COMPUTE and role != "backend" and not wraps:
            raise FemError(
                f"{who}: {name} is provided by backends; {a_role} may only wrap it (@fem_core.hookimpl(wrapper=True))"
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
    """The hooks of one run: its one provider of each stage, and whoever observes and wraps.

    An observer or always-on plugin that fails is switched off with one warning: nothing that it does
    in a wrapper changes what the provider returned or raised.
    """

    def __init__(
        self,
        core: Backend,
        backends: Iterable[tuple[BackendInfo, Backend]],
        observers: Iterable[object],
        plugins: Iterable[tuple[str, object]],
    ) -> None:
        self.manager = new_manager()
        self.silenced: set[str] = set()
        self.warnings: list[str] = []
        self._providers: dict[str, Backend] = {"core": core, **{info.name: backend for info, backend in backends}}
        for name, plugin in plugins:
            self._register(plugin, f"plugin {name}")
        for number, observer in enumerate(observers, 1):
            check_plugin(observer, "observer")
            self._register(observer, f"observer {number} ({_describe(observer)})")

    def call(self, stage: Stage, provider: str, **arguments: Any) -> Any:
        """The result of `provider`'s hook for `stage`, called inside the wrappers and alone."""
        name = HOOKS[stage]
        function = getattr(self._providers[provider], name)
        accepted = inspect.signature(function).parameters

        @hookimpl
        def provide() -> Any:
            return function(**{argument: arguments[argument] for argument in accepted})

        plugin = _Plugin({name: provide})
        self.manager.register(plugin, "provider")
        try:
            return getattr(self.manager.hook, name)(**arguments)
        finally:
            self.manager.unregister(plugin)

    def switch_off(self, name: str, hook: str, error: BaseException) -> None:
        """Let no further event reach the observer or plugin of this name, and warn of it once."""
        if name not in self.silenced:
            self.silenced.add(name)
            self.warnings.append(f"{name} failed in {hook} and was switched off: {type(error).__name__}: {error}")
            _log.warning("%s failed in %s and was switched off", name, hook, exc_info=error)

    def _register(self, plugin: object, name: str) -> None:
        hooks = {hook: getattr(plugin, hook) for hook in implementations(plugin)}
        for hook in _COMPUTE & set(hooks):
            hooks[hook] = self._guarded(hooks[hook], hook, name)
        self.manager.register(_Plugin(hooks), name)

    def _guarded(self, wrapper: Callable[..., Any], hook: str, name: str) -> Callable[..., Any]:
        """`wrapper`, with whatever the provider returned or raised coming out of it unchanged."""

        @functools.wraps(wrapper)
        def guarded(*arguments: Any) -> Generator[None, Any, Any]:
            if name in self.silenced:
                return (yield)
            inner = wrapper(*arguments)
            try:
                next(inner)
            except Exception as error:  # StopIteration too: a wrapper that didn't come to its `yield`
                self.switch_off(name, hook, error)
                return (yield)
            try:
                result = yield
            except BaseException as error:
                self._finish(functools.partial(inner.throw, error), error, hook, name)
                raise
            self._finish(functools.partial(inner.send, result), None, hook, name)
            return result

        return guarded

    def _finish(self, step: Callable[[], object], raised: BaseException | None, hook: str, name: str) -> None:
        """The part of a wrapper after its `yield`."""
        try:
            step()
        except StopIteration:
            return
        except Exception as error:
            if error is not raised:
                self.switch_off(name, hook, error)
            return
        except BaseException as error:
            if error is not raised:
                raise
            return
        self.switch_off(name, hook, RuntimeError("a wrapper has one `yield`, not two"))


class _Plugin:
    """Hooks under one identity: pluggy compares plugins by ==, and an observer may well be a dataclass."""

    def __init__(self, hooks: dict[str, Callable[..., Any]]) -> None:
        vars(self).update(hooks)


def _describe(plugin: object) -> str:
    return plugin.__name__ if inspect.ismodule(plugin) else type(plugin).__name__
