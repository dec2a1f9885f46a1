"""Bodies that come in chunks, measured before Django sees them: Django takes a body without a length for none."""

import io
from collections.abc import Callable, Iterable
from typing import Any

from runtimes.api.strict import MAX_BODY_BYTES

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class MeasuredBodies:
    """WSGI middleware that gives a chunked body its Content-Length.

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
