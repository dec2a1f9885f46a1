"""What Django and gunicorn leave undone with the bodies of requests: those in chunks, and those that nobody reads."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from runtimes.api.strict import MAX_BODY_BYTES

log = structlog.get_logger(__name__)

# Far above any body that makes sense; whoever sends more has his connection closed.
MOST_DRAINED_BYTES = 16 * 1024 * 1024
_PIECE_BYTES = 64 * 1024

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class MeasuredBodies:
    """WSGI middleware that gives a chunked body its Content-Length: Django takes a body without a length for none.

    No more than one byte above the limit of the API is read; the parser then refuses the body for its size.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass the request on, measured."""
        # Only a server that ends the input itself may be read from without knowing how much there is.
        if "HTTP_TRANSFER_ENCODING" in environ and environ.get("wsgi.input_terminated"):
            body = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
            del environ["HTTP_TRANSFER_ENCODING"]
        return self._application(environ, start_response)


class DrainedBodies:
    """WSGI middleware that reads to its end what nobody has read of a body.

    gunicorn (27.0) reads 64 KiB of it at most and then closes the connection without having said so: the client's next
    request on it, or even the answer to this one, is lost.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Have the request answered, then take in the rest of it."""
        body = environ["wsgi.input"]
        answer = self._application(environ, start_response)
        # Another server's input does not end by itself.
        if environ.get("wsgi.input_terminated"):
            _drain(body)
        return answer


def _drain(body: Any) -> None:
    left = MOST_DRAINED_BYTES
    try:
        while left > 0 and (piece := body.read(_PIECE_BYTES)):
            left -= len(piece)
    except Exception as error:  # noqa: BLE001 - a client that is gone or sends nonsense; what was asked is answered
        log.debug("body_not_drained", reason=str(error))
