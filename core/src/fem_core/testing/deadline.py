"""A deadline for what may never end: a hang is then a failure, and the kit goes on."""

import threading
from collections.abc import Callable


def within(seconds: float, what: str, action: Callable[[], object]) -> None:
    """Run `action` in another thread, and fail if it doesn't end in time; `what` says when this was."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"nothing happened within {seconds:g} s {what}"
    if errors:
        raise errors[0]
