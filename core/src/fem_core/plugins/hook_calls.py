"""The hooks of one run: calls the provider of a stage inside the wrappers of observers and plugins."""

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
    """The hooks of one run: the provider of each stage, and the observers and plugins that listen and wrap.

    An observer or always-on plugin that fails is switched off, with one warning. A wrapper can't change what the
    provider returned or raised.
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
        """Call the compute hook of this name of `provider`, and of no other backend, inside the wrappers."""
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
        """Send no more events to the observer or plugin of this name; warn once."""
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
        """`wrapper`, made so that it can't change what the provider returned or raised."""

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
            result: Any = None
            raised: BaseException | None = None
            try:
                result = yield
            except BaseException as error:
                raised = error
            try:
                inner.throw(raised) if raised else inner.send(result)
                self.switch_off(name, hook, RuntimeError("a wrapper has one `yield`, not two"))
            except StopIteration:
                pass
            except Exception as error:
                if error is not raised:
                    self.switch_off(name, hook, error)
            except BaseException as error:
                if error is not raised:
                    raise
            if raised:
                try:
                    raise raised
                finally:
                    del raised  # its traceback holds this frame, and with it the arguments
            return result

        return guarded


class _Plugin:
    """Hooks as an object of its own: pluggy compares plugins by ==, so two equal dataclasses would be one plugin."""

    def __init__(self, hooks: dict[str, Callable[..., Any]]) -> None:
        vars(self).update(hooks)
