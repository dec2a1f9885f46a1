"""Which workers are there: asked through the broker, so that only those that hear it are counted."""

from celery import current_app

from runtimes.exceptions import ServiceUnavailableError


def answering_workers(*, timeout_seconds: float) -> list[str]:
    """The names of the workers that answer within this time, all of which is waited for.

    Raises ServiceUnavailableError when the broker does not answer.
    """
    connection = current_app.connection_for_read()
    try:
        with connection:
            # Left to itself, asking would go on trying to connect for ever.
            connection.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
            answers = current_app.control.ping(timeout=timeout_seconds, connection=connection)
    except (*connection.connection_errors, *connection.channel_errors) as error:
        message = f"the broker does not answer: {error}"
        raise ServiceUnavailableError(message) from error
    return [name for answer in answers or [] for name in answer]
