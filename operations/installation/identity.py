"""Which database this is: the owner of the job streams."""

from django.db import connection

# Purpose: what distinguishes this database from a copy elsewhere. Standbys and base backups of one server share the
# identifier, so a failover changes nothing; a dump that is restored into another server or database does. The schema is
# that of our tables, because current_schema() may change when a schema is created. Locks: none.
_IDENTITY = """
    SELECT current_database(),
           coalesce((SELECT relnamespace::regnamespace::text FROM pg_class
                      WHERE oid = to_regclass('operations_operation')), current_schema()),
           system_identifier::text
      FROM pg_control_system()
"""


def database_identity() -> str:
    """Return a text that names this database and no copy of it; one query. Raises a DatabaseError."""
    with connection.cursor() as cursor:
        cursor.execute(_IDENTITY)
        database, schema, server = cursor.fetchone()
    return f"database {database}, schema {schema}, PostgreSQL {server}"
