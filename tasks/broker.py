"""Queries to the Celery broker: waiting messages, and whether it answers."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery import Celery, current_app
from django.conf import settings

from operations.dispatch import LIFECYCLE_QUEUE, READS_QUEUE
from runtimes.exceptions import ServiceUnavailableError


def queues() -> tuple[str, ...]:
    """The queues that the workers together must read, as in ``celery worker -Q``."""
    return (LIFECYCLE_QUEUE, settings.CELERY_TASK_DEFAULT_QUEUE, READS_QUEUE)


def messages_by_queue() -> Mapping[str, int]:
    """Return how many messages wait in each of our queues; empty if the broker does not respond."""
    return waiting_messages(current_app, queues())


def waiting_messages(app: Celery, names: Collection[str]) -> dict[str, int]:
    """Return how many messages wait in each queue; empty if the broker does not respond."""
    try:
        with _connection(app) as connection:
            channel: Any = connection.channel()
            return {queue: channel.queue_declare(queue=queue).message_count for queue in names}
    except ServiceUnavailableError:
        # The consumer reconnects as well; Celery handles that.
        return {}


def ping_broker() -> bool:
    """Return True if the broker accepts a connection. Raises ServiceUnavailableError if not."""
    with _connection(current_app):
        return True


@contextmanager
def _connection(app: Celery) -> Iterator[Any]:
    """Open a connection of its own, because the consumer's connection may be broken."""
    connection: Any = app.connection_for_read()
    try:
        with connection:
            # By default, the first command on a connection retries until the broker is back.
            connection.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
            yield connection
    except (*connection.connection_errors, *connection.channel_errors) as error:
        message = f"the broker does not answer: {error}"
        raise ServiceUnavailableError(message) from error
