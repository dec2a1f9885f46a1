"""Looks at servers that may hang, each in a thread of its own: whoever asks waits for a moment and no longer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from runtimes.exceptions import RuntimeManagerError, ServiceUnavailableError

Seen = TypeVar("Seen")

# Looks that hang end by the time-outs of their clients; until then so many of them are enough.
_AT_ONCE = 16
_places = threading.BoundedSemaphore(_AT_ONCE)


def begin(look: Callable[[], Seen], *, name: str) -> Future[Seen]:
    """Look without waiting. The future raises what the look raised; nothing of it outlives the process."""
    seen: Future[Seen] = Future()
    if not _places.acquire(blocking=False):
        message = f"{name} hangs: {_AT_ONCE} looks at it have not come back yet"
        seen.set_exception(ServiceUnavailableError(message))
        return seen

    def run() -> None:
        try:
            seen.set_result(look())
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            seen.set_exception(error)
        finally:
            _places.release()

    threading.Thread(target=run, name=f"look-at-{name}", daemon=True).start()
    return seen


def reason_of(seen: "Future[Seen]", *, timeout_seconds: float) -> str:
    """Why the look failed or is late, empty when it succeeded. Raises what is no error of ours."""
    try:
        seen.result(timeout=timeout_seconds)
    except TimeoutError:
        return f"no answer within {timeout_seconds:g} s"
    except RuntimeManagerError as error:
        return error.message
    return ""
