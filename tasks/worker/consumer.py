"""Celery's consumer, which survives a failover of the broker. ``CELERY_WORKER_CONSUMER`` names it."""

from typing import Any

from celery.worker.consumer import Consumer

from runtimes.process import shutting_down

_PAUSE_SECONDS = 2.0


class FailoverConsumer(Consumer):
    """A broker that became a replica accepts connections and refuses the first command.

    Celery would try again at once, and leave each refused connection open.
    """

    # celery-types lacks them.
    hub: Any
    amqheartbeat: Any
    channel_errors: tuple[type[Exception], ...]
    connection_for_read: Any

    def connect(self) -> Any:
        """Return the connection, as Celery does. If the broker refuses it, close it, wait, and raise the error."""
        connection = self.connection_for_read(heartbeat=self.amqheartbeat)
        try:
            if self.hub:
                connection.transport.register_with_event_loop(connection.connection, self.hub)
        except self.channel_errors:
            connection.release()
            shutting_down.wait(_PAUSE_SECONDS)
            raise
        return connection
