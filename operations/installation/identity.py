"""Which database this is: the owner of the job streams."""

from django.db import connection

from operations.queue.database import SCHEMA

# Purpose: what distinguishes this database from a copy elsewhere. Standbys and base backups of one server share the
# identifier, so a failover changes nothing; a dump that is restored into another server or database does. Locks: none.
_IDENTITY = f"SELECT current_database(), {SCHEMA}, system_identifier::text FROM pg_control_system()"  # noqa: S608 - no value in it


def database_identity() -> str:
    """Return a text that names this database and no copy of it; one query. Raises a DatabaseError."""
    with connection.cursor() as cursor:
        cursor.execute(_IDENTITY)
        database, schema, server = cursor.fetchone()
    return f"database {database}, schema {schema}, PostgreSQL {server}"
