"""What is installed: backends (entry points `fem.backends`) and always-on plugins (`fem.plugins`).

There is one registry per process. It imports a backend or a plugin only when it is needed. A broken one
doesn't affect the others: every backend has a state, with a reason that the user can read.
"""

import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module, metadata
from typing import Any

from fem_core.errors import BackendError, BackendUnavailable, OptionError
from fem_core.plugins.backend import API_VERSION, Backend, BackendInfo
from fem_core.plugins.hookspecs import new_manager
from fem_core.plugins.manners import watched
from fem_core.plugins.validation import check_backend, check_plugin
from fem_core.support.memory import lacks_memory, not_enough
from fem_core.support.wording import did_you_mean

_log = logging.getLogger(__name__)

BACKENDS, PLUGINS = "fem.backends", "fem.plugins"

#: The core's own formats and solvers: a plugin that is always there and comes first.
CORE_PLUGIN = "fem_core.backends.core_plugin"


class State(StrEnum):
    """Whether a backend can be used."""

    READY = "ready"
    UNAVAILABLE = "unavailable"
    INCOMPATIBLE = "incompatible"
    DISABLED = "disabled"
    CONFLICT = "conflict"
    FAILED = "failed"


@dataclass(frozen=True)
class Listing:
    """A backend as `fem backends` shows it.

    Parameters
    ----------
    reason : str
        Why the backend isn't ready; empty if it is.
    distribution : str
        Name and version of the distribution that provides it.
    info : BackendInfo or None
        None if it couldn't be loaded.
    """

    name: str
    state: State
    reason: str
    distribution: str
    info: BackendInfo | None = None


class Registry:
    """Entry points found once, loaded on demand; the process has one, `REGISTRY`."""

    def __init__(self) -> None:
        self._registered: dict[str, BackendInfo] = {}
        self._manager = new_manager()
        self._plugins_loaded = False
        self._lock = threading.RLock()
        self.plugin_failures: dict[str, str] = {}

    # backends

    def listings(self) -> list[Listing]:
        """All backends, in any state: those of the core first, then by name."""
        listings = [self.find(name) for name in self._names()]
        return sorted(listings, key=lambda one: (not one.distribution.startswith("fem-core "), one.name))

    def find(self, name: str) -> Listing:
        """The backend with this name. If there is none, raises BackendUnavailable with the known names."""
        registered = self._registered.get(name)
        points = [] if registered else [point for point in _entry_points(BACKENDS) if point.name == name]
        if not registered and not points:
            names = sorted(self._names())
            known = f"installed: {', '.join(names)}; plugins add others (see the README)"
            raise BackendUnavailable(f"there is no backend {name!r}{did_you_mean(name, names)}; {known}")
        origin = " and ".join(sorted({_distribution(point) for point in points})) or "registered in this process"
        if name in _disabled():
            return Listing(name, State.DISABLED, "switched off by FEM_DISABLE", origin)
        if len(points) > 1:
            return Listing(name, State.CONFLICT, f"{origin} both provide this backend; uninstall one of them", origin)
        try:
            with watched(f"backend {name!r} of {origin}", name):
                return judge(name, registered or points[0].load(), origin)
        except (Exception, SystemExit) as error:
            return Listing(name, State.FAILED, _text(error), origin)

    def _names(self) -> set[str]:
        return {point.name for point in _entry_points(BACKENDS)} | set(self._registered)

    def register_backend(self, info: BackendInfo) -> None:
        """Make a backend known in this process, without an entry point; it replaces a backend of the same name."""
        self._registered[info.name] = info

    def create(self, listing: Listing, options: dict[str, Any]) -> tuple[BackendInfo, Backend]:
        """Create the backend without opening it.

        Raises BackendUnavailable with the reason if its state isn't ready, OptionError for a wrong option.
        """
        info = listing.info
        if info is None or listing.state is not State.READY:
            raise BackendUnavailable(f"backend {listing.name!r} is {listing.state}: {listing.reason}")
        typed = info.parse_options(options)
        try:
            module, _, attribute = info.factory.partition(":")
            with watched(f"backend {info.name!r}", info.name):
                backend = getattr(import_module(module), attribute)(**typed)
        except OptionError:
            raise
        except (Exception, SystemExit) as error:
            what = f"backend {info.name!r} failed to load"
            if lacks_memory(error):
                raise BackendUnavailable(str(not_enough(what, error))) from error
            raise BackendUnavailable(f"{what}: {_text(error)}") from error
        if not isinstance(backend, Backend):
            raise BackendError(f"backend {info.name!r}: {info.factory} doesn't return a fem_core.plugins.Backend")
        check_backend(info, backend)
        return info, backend

    # always-on plugins

    def register_plugin(self, plugin: object, name: str | None = None) -> None:
        """Add an always-on plugin. Raises FemError if its hooks are wrong."""
        check_plugin(plugin, "plugin")
        self._manager.register(plugin, name)

    def unregister_plugin(self, plugin: object) -> None:
        """Remove a plugin that `register_plugin` added."""
        self._manager.unregister(plugin)

    def plugins(self) -> list[tuple[str, object]]:
        """The always-on plugins that work, by name; `plugin_failures` has the others."""
        with self._lock:
            if not self._plugins_loaded:
                self._plugins_loaded = True  # set first: a plugin may ask for the plugins while it is imported
                self.register_plugin(import_module(CORE_PLUGIN), CORE_PLUGIN)
                for point in _entry_points(PLUGINS):
                    if point.name in _disabled():
                        continue
                    try:
                        with watched(f"plugin {point.name!r} of {_distribution(point)}", point.name):
                            self.register_plugin(point.load(), point.name)
                    except (Exception, SystemExit) as error:
                        self.plugin_failures[point.name] = f"{_distribution(point)}: {_text(error)}"
                        _log.warning("plugin %s of %s is ignored: %s", point.name, _distribution(point), _text(error))
        return [(name, plugin) for name, plugin in self._manager.list_name_plugin() if name != CORE_PLUGIN]

    def extensions(self, hook: str) -> list[Any]:
        """Items that the core and then the always-on plugins add by an extension hook; failing plugins are left out."""
        self.plugins()
        items: list[Any] = []
        found = getattr(self._manager.hook, hook).get_hookimpls()  # a mark may ask to be called before the core
        for implementation in sorted(found, key=lambda one: one.plugin_name != CORE_PLUGIN):
            try:
                items += [_sound(item, hook) for item in implementation.function()]
            except (Exception, SystemExit) as error:
                self.plugin_failures[implementation.plugin_name] = f"{hook}: {_text(error)}"
                _log.warning("plugin %s failed in %s: %s", implementation.plugin_name, hook, _text(error))
        return items


#: The attributes that each item from an extension hook must have.
_PARTS = {
    "fem_mesh_readers": ("suffixes", "read"),
    "fem_result_writers": ("suffixes", "write"),
    "fem_linear_solvers": ("name", "prepare"),
    "fem_cli_commands": ("name", "invoke"),
}


def _sound(item: object, hook: str) -> object:
    if missing := [part for part in _PARTS[hook] if not hasattr(item, part)]:
        raise TypeError(f"it returned a {type(item).__name__} without {' and '.join(missing)}")
    return item


@cache
def _entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=group))


def _distribution(point: metadata.EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist else "unknown distribution"


def _text(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()) if str(error) else type(error).__name__


def judge(name: str, info: object, origin: str) -> Listing:
    """The state of the backend `name` from `origin`, by its information."""
    if not isinstance(info, BackendInfo):
        return Listing(name, State.FAILED, f"its entry point is a {type(info).__name__}, not a BackendInfo", origin)
    if info.name != name:
        return Listing(name, State.FAILED, f"its entry point is {name!r} but it calls itself {info.name!r}", origin)
    if info.api_version != API_VERSION:
        reason = f"made for version {info.api_version} of the backend API, this core has {API_VERSION}"
        return Listing(name, State.INCOMPATIBLE, reason, origin, info)
    try:
        reason = str(info.available() or "")
    except (Exception, SystemExit) as error:
        return Listing(name, State.FAILED, f"available() raised {_text(error)}", origin, info)
    return Listing(name, State.UNAVAILABLE if reason else State.READY, reason, origin, info)


def _disabled() -> Iterable[str]:
    return [name.strip() for name in os.environ.get("FEM_DISABLE", "").split(",")]


#: The registry of this process.
REGISTRY = Registry()
