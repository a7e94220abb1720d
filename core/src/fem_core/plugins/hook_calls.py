"""The hooks of one run: the one provider of a stage, called inside the wrappers of observers and plugins."""

import functools
import inspect
import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from fem_core.plugins.backend import Backend
from fem_core.plugins.hookspecs import hookimpl, new_manager
from fem_core.plugins.validation import COMPUTE, check_plugin, describe, implementations

_log = logging.getLogger(__name__)


class Hooks:
    """The hooks of one run: its one provider of each stage, and whoever observes and wraps.

    An observer or always-on plugin that fails is switched off with one warning: nothing that it does
    in a wrapper changes what the provider returned or raised.
    """

    def __init__(
        self,
        providers: Mapping[str, Backend],
        observers: Iterable[object],
        plugins: Iterable[tuple[str, object]],
    ) -> None:
        self.manager = new_manager()
        self.silenced: set[str] = set()
        self.warnings: list[str] = []
        self._providers = providers
        for name, plugin in plugins:
            self._register(plugin, f"plugin {name}")
        for number, observer in enumerate(observers, 1):
            check_plugin(observer, "observer")
            self._register(observer, f"observer {number} ({describe(observer)})")

    def call(self, name: str, provider: str, **arguments: Any) -> Any:
        """The result of `provider`'s compute hook of this name, called inside the wrappers and alone."""
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
        for hook in COMPUTE & set(hooks):
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
