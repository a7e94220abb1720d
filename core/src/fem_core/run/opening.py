"""From names to an open session: one backend, a chain of them, or the best there is."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fem_core.errors import BackendError, BackendUnavailable, DeviceMissing, OptionError
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.registry import REGISTRY, Listing, State, judge
from fem_core.run.session import Session
from fem_core.support.kinds import require

if TYPE_CHECKING:
    from fem_core.run.tuned_options import Tuned

_log = logging.getLogger(__name__)


def open_backend(
    name: str | BackendInfo = "auto", /, *, fallback: bool = False, tuned: bool = True, **options: Any
) -> Session:
    """Open a backend, a chain of backends (`"mp-shm,numba"`) or the best available backend (`"auto"`).

    Parameters
    ----------
    name : str or BackendInfo
        A name, names separated by commas, the `BackendInfo` of a backend that isn't installed, or `auto`.
        `auto` tries the backends from the highest rank to the lowest. Each report says what it chose and
        what it skipped (notes), and what failed (warnings).
    fallback : bool
        If a backend declines a stage, continue without it and report a warning; `auto` always does this.
    tuned : bool
        Open a backend that gets no options here with the options that `fem tune` saved for this machine; each
        report says so (notes). They change the speed, never a result. If that fails, the defaults are used and a
        warning is reported.
    **options
        Options of the backends; each backend gets those that it has.

    Raises
    ------
    BackendUnavailable
        If a backend named here can't run; the message gives the reason.
    OptionError
        For an option that none of the backends has, or a value of the wrong type.
    """
    require(name, str | BackendInfo, "a backend must be a name or a BackendInfo")
    if name == "auto":
        return _open_best(options, tuned)
    listings = _find(name)
    _refuse_unknown(listings, options)
    return _open(listings, options, tuned, fallback=fallback)


def list_backends() -> list[Listing]:
    """All installed and registered backends, each with its state, and the reason if it isn't ready."""
    return REGISTRY.listings()


def create_backends(name: str | BackendInfo, options: Mapping[str, Any]) -> list[tuple[BackendInfo, Backend]]:
    """The backends of a chain, created but not yet opened."""
    return [REGISTRY.create(listing, _known(listing, options)) for listing in _find(name)]


def _find(name: str | BackendInfo) -> list[Listing]:
    if isinstance(name, BackendInfo):
        return [judge(name.name, name, "given in this process")]
    require(name, str, "a backend must be a name or a BackendInfo")
    parts = [part.strip() for part in name.split(",")]
    if "auto" in parts:
        raise OptionError("auto can't be part of a chain; give auto alone, or name all backends of the chain")
    return [REGISTRY.find(part) for part in parts]


def _open(
    listings: Sequence[Listing],
    options: Mapping[str, Any],
    tuned: bool,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    *,
    fallback: bool,
) -> Session:
    """Open the session; if the tuned options are refused, with the defaults and a warning."""
    own = {listing.name: _known(listing, options) for listing in listings}
    kept = {one.name: found for one in listings if tuned and not own[one.name] and (found := tuning_of(one))}
    kept = {name: found for name, found in kept.items() if found.options}
    own |= {name: dict(found.options) for name, found in kept.items()}
    origins = [listing.distribution.split(" ") for listing in listings]  # name and version, or a remark
    distributions = [origin[0] for origin in origins if len(origin) == 2 and origin[0] != "fem-core"]
    said = [*notes, *(f"{name}: {found}" for name, found in kept.items())]
    try:
        backends = [REGISTRY.create(listing, own[listing.name]) for listing in listings]
        return Session(backends, fallback=fallback, notes=said, warnings=warnings, distributions=distributions).open()
    except (BackendUnavailable, OptionError) as error:
        if not kept:
            raise
        refused = f"the tuned options failed ({error}), so the defaults are used; run `fem tune` again"
    return _open(listings, options, False, notes, [*warnings, refused], fallback=fallback)


def _open_best(options: Mapping[str, Any], tuned: bool) -> Session:
    """Open the first backend that can be opened, by rank; backends that must prepare first come last."""
    listings = REGISTRY.listings()
    ready = [listing for listing in listings if listing.state is State.READY]
    pending = {listing.name: what for listing in ready if (what := todo(listing))}
    ranked = sorted(listings, key=lambda one: (one.name in pending, -_rank(one)))
    _refuse_unknown(ready, options)
    passed: list[str] = []
    absent: list[str] = []
    missing: list[str] = []
    for number, listing in enumerate(ranked):
        if listing.state is State.UNAVAILABLE:  # mostly because a library isn't installed: not worth a warning
            absent.append(listing.name)
        elif why := _unfit(listing, options):
            passed.append(f"auto skipped {listing.name}: {why}")
        else:
            notes = _choice(ranked[number:], pending, missing, absent)
            try:
                return _open([listing], options, tuned, notes, passed, fallback=True)
            except DeviceMissing as error:
                what = str(error).partition(";")[0]
                missing.append(f"auto skipped {listing.name}: {what}; `fem doctor` gives details")
            except BackendError as error:
                passed.append(f"auto skipped {listing.name}: {error}")
    passed += [*missing, *(f"{name} is unavailable" for name in absent)]
    raise BackendUnavailable("no backend can be opened: " + "; ".join(passed))


def _unfit(listing: Listing, options: Mapping[str, Any]) -> str | None:
    """Why `auto` skips a backend; None if it can be tried."""
    if listing.state is not State.READY:
        return f"{listing.state}: {listing.reason}"
    if others := set(options) - set(_known(listing, options)):
        return f"it has no option {', '.join(sorted(others))}"
    return None


def _choice(
    left: Sequence[Listing], pending: Mapping[str, str], missing: Sequence[str], absent: Sequence[str]
) -> list[str]:
    """The notes: `auto` chose the first backend of `left`, and why it skipped others."""
    chosen, *others = left
    fewer = sum(one.state is State.READY and one.name not in pending for one in others)
    of = f"highest-ranked of {1 + fewer} ready backends" if fewer else "only ready backend"
    notes = [f"auto chose {chosen.name}, the {of}", *missing]
    notes += [
        f"auto skipped {better.name}: it has to {pending[better.name]}; `fem doctor` does this"
        for better in left
        if better.name in pending and _rank(better) > _rank(chosen)
    ]
    if absent:
        notes.append(f"auto skipped {', '.join(absent)}: unavailable; `fem backends` gives the reason")
    return notes


def _rank(listing: Listing) -> int:
    return listing.info.rank if listing.info else 0


def todo(listing: Listing) -> str | None:
    """What a backend must do before its first start; None if nothing, or if it can't tell."""
    try:
        return listing.info.pending() if listing.info else None
    except Exception as error:
        _log.warning("backend %r can't report whether it is prepared: %s", listing.name, error)
        return None


def tunable(listing: Listing) -> bool:
    """Whether a backend has options that `fem tune` may choose."""
    return bool(listing.info and any(option.candidates for option in listing.info.options))


def tuning_of(listing: Listing) -> "Tuned | None":
    """The options that `fem tune` saved for a backend on this machine, if any."""
    if not tunable(listing):
        return None
    from fem_core.run.tuned_options import load

    return load(listing)


def _known(listing: Listing, options: Mapping[str, Any]) -> dict[str, Any]:
    names = {option.name for option in listing.info.options} if listing.info else set()
    return {name: value for name, value in options.items() if name in names}


def _refuse_unknown(listings: Sequence[Listing], options: Mapping[str, Any]) -> None:
    for name in options:
        # A backend that can't be loaded is refused with its reason, not for its options.
        if not any(listing.info is None or name in _known(listing, options) for listing in listings):
            accepted = sorted({option.name for listing in listings if listing.info for option in listing.info.options})
            raise OptionError(
                f"no option {name!r} in {', '.join(listing.name for listing in listings)}; "
                f"options: {', '.join(accepted) or 'none'}"
            )
