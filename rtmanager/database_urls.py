"""Converts the PostgreSQL URL of the settings to the parameters of a connection."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import psycopg2
from psycopg2.extensions import parse_dsn

# A forgotten transaction cannot hold locks, and a statement cannot hang.
_SESSION_SETTINGS = {
    "lock_timeout": "5000",
    "statement_timeout": "15000",
    "idle_in_transaction_session_timeout": "15000",
}
_ENCODING = "UTF8"


def django_database(database_url: str) -> dict[str, Any]:
    """Return the entry ``DATABASES["default"]``. All libpq parameters of the URL are passed on."""
    params, session_settings = connection_parameters(database_url, defaults=_SESSION_SETTINGS)
    return {
        "ENGINE": "rtmanager.db_backend",
        "NAME": params.pop("dbname"),
        "USER": params.pop("user", ""),
        "PASSWORD": params.pop("password", ""),
        "HOST": params.pop("host", ""),
        "PORT": params.pop("port", ""),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        # Not an option of Django: rtmanager/db_backend applies it to each new session.
        "SESSION_SETTINGS": session_settings,
        "OPTIONS": {
            "connect_timeout": 3,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            **params,
        },
    }


def connect(database_url: str) -> Any:
    """Connect to the same database without Django, for Celery's result backend."""
    params, session_settings = connection_parameters(database_url)
    connection = psycopg2.connect(**params)
    prepare_session(connection, session_settings)
    connection.commit()
    return connection


def connection_parameters(
    database_url: str, *, defaults: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the parameters for psycopg2, and the settings of each new session (see ``prepare_session``).

    ``search_path``, which other drivers accept in the URL but libpq does not, becomes a session setting. A setting in
    ``options`` of the URL overrides its default.
    """
    params = libpq_params(database_url)
    search_path = params.pop("search_path", "")
    in_options = params.get("options", "")
    settings = {name: value for name, value in (defaults or {}).items() if name not in in_options}
    return {"dbname": "rtmanager", **params}, {**settings, **({"search_path": search_path} if search_path else {})}


def prepare_session(connection: Any, session_settings: Mapping[str, str]) -> None:
    """Check the encoding of the database, and apply these settings with one statement.

    The settings are no startup parameters (``options``), because PgBouncer refuses those. Raises
    psycopg2.OperationalError.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in {_ENCODING, None}:
        connection.close()
        message = (
            f"RTMANAGER_DATABASE_URL: this database has the encoding {encoding}, and RTM needs {_ENCODING}; "
            f"create another one: createdb --encoding {_ENCODING} --template template0 NAME"
        )
        raise psycopg2.OperationalError(message)
    if session_settings:
        calls = ", ".join(["set_config(%s, %s, false)"] * len(session_settings))
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}", [part for item in session_settings.items() for part in item])


def libpq_params(database_url: str) -> dict[str, str]:
    """Parse the URL as libpq does; ``search_path`` is accepted as well.

    Raises ValueError that names the variable and never shows the password.
    """
    address, _, query = database_url.partition("?")
    parameters = [parameter for parameter in query.split("&") if parameter]
    search_paths = [
        unquote(parameter.partition("=")[2]) for parameter in parameters if parameter.startswith("search_path=")
    ]
    # The rest stays as written, because libpq has its own rules for escapes.
    rest = "&".join(parameter for parameter in parameters if not parameter.startswith("search_path="))
    try:
        params = dict(parse_dsn(f"postgresql://{address.partition('://')[2]}?{rest}"))
    except psycopg2.ProgrammingError as error:
        # libpq quotes what it cannot read, which may be the password. Only a parameter name is safe to repeat.
        is_safe = "invalid URI query parameter" in str(error)
        reason = str(error).strip() if is_safe else "libpq cannot read this address"
        message = f"RTMANAGER_DATABASE_URL: {reason}; write postgresql://user:password@host:5432/name"
        raise ValueError(message) from None
    return {**params, "search_path": search_paths[-1]} if search_paths else params
