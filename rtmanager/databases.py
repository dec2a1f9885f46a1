"""One PostgreSQL address in, the forms that Django and SQLAlchemy want out."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg2
from psycopg2.extensions import parse_dsn
from sqlalchemy.engine import URL

# A lost server is noticed in seconds, a forgotten transaction cannot hold locks, a statement cannot hang.
_SESSION_OPTIONS = "-c lock_timeout=5000 -c statement_timeout=15000 -c idle_in_transaction_session_timeout=15000"


def django_database(database_url: str) -> dict[str, Any]:
    """The ``DATABASES["default"]`` entry. Everything libpq understands in the address is passed on.

    ``search_path``, which other drivers accept in the address but libpq does not, becomes a session option.
    """
    params = _libpq_params(database_url)
    search_path = params.pop("search_path", "")
    own_options = params.pop("options", "")
    options = " ".join(filter(None, [_SESSION_OPTIONS, search_path and f"-c search_path={search_path}", own_options]))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": params.pop("dbname", "rtmanager"),
        "USER": params.pop("user", ""),
        "PASSWORD": params.pop("password", ""),
        "HOST": params.pop("host", ""),
        "PORT": params.pop("port", ""),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 3,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            **params,
            "options": options,
        },
    }


def result_backend_url(database_url: str) -> str:
    """The same database as Celery's result backend (SQLAlchemy over psycopg2)."""
    params = _libpq_params(database_url)
    search_path = params.pop("search_path", "")
    if search_path:
        params["options"] = f"-c search_path={search_path}"
    host = params.pop("host", "")
    is_socket = host.startswith("/")
    if is_socket:
        params["host"] = host
    port = params.pop("port", "")
    url = URL.create(
        "postgresql+psycopg2",
        username=params.pop("user", None),
        password=params.pop("password", None),
        database=params.pop("dbname", "rtmanager"),
        host=None if is_socket else host or None,
        port=int(port) if port else None,
        query=params,
    )
    return f"db+{url.render_as_string(hide_password=False)}"


def _libpq_params(database_url: str) -> dict[str, str]:
    parts = urlsplit(database_url)
    query = dict(parse_qsl(parts.query))
    search_path = query.pop("search_path", "")
    plain = urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query)))
    try:
        params = dict(parse_dsn(plain))
    except psycopg2.ProgrammingError as error:
        message = f"RTMANAGER_DATABASE_URL: {str(error).strip()}"
        raise ValueError(message) from None
    return {**params, "search_path": search_path} if search_path else params
