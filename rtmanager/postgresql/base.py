"""The backend that ``DATABASES`` names."""

import select

from django.db.backends.postgresql import base
from psycopg2 import InterfaceError


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL, as Django knows it."""

    def is_usable(self) -> bool:
        """Whether the server has not hung up, as far as this machine has heard.

        Django asks the server, once in each request and each Celery task, which would be a fifth of their queries. But
        a server that ends, or ends the connection, says so, and then an idle connection has something to read. Of one
        that vanished without a word neither way hears anything before the keepalives do.
        """
        if self.connection is None:
            return False
        listening = select.poll()
        try:
            listening.register(self.connection, select.POLLIN)
        except (InterfaceError, ValueError):
            # Closed on our side.
            return False
        return not listening.poll(0)
