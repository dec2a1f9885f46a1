"""The one clock by which anything is decided: the database's. Those of the workers may be wrong, or step."""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """The time right now by the database, also inside a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    now: datetime = row[0]
    return now
