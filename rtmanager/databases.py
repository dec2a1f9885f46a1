"""One PostgreSQL address in, the forms that Django and SQLAlchemy want out."""

from typing import Any
from urllib.parse import quote, unquote, urlencode

import psycopg2
from psycopg2.extensions import parse_dsn

# A lost server is noticed in seconds, a forgotten transaction cannot hold locks, a statement cannot hang.
_SESSION_OPTIONS = "-c lock_timeout=5000 -c statement_timeout=15000 -c idle_in_transaction_session_timeout=15000"


def django_database(database_url: str) -> dict[str, Any]:
    """The ``DATABASES["default"]`` entry. Everything libpq understands in the address is passed on.

    ``search_path``, which other drivers accept in the address but libpq does not, becomes a session option.
    """
    params = libpq_params(database_url)
    search_path = params.pop("search_path", "")
    own_options = params.pop("options", "")
    options = " ".join(filter(None, [_SESSION_OPTIONS, search_path and f"-c search_path={search_path}", own_options]))
    return {
        "ENGINE": "rtmanager.postgresql",
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
    params = libpq_params(database_url)
    search_path = params.pop("search_path", "")
    options = " ".join(filter(None, [search_path and f"-c search_path={search_path}", params.pop("options", "")]))
    hosts, ports = params.pop("host", ""), params.pop("port", "")
    is_plain = "," not in hosts and not hosts.startswith("/")
    user, password = params.pop("user", None), params.pop("password", None)
    database = params.pop("dbname", "rtmanager")
    query = {
        **params,
        **({} if is_plain else _places(hosts, ports)),
        **({"options": options} if options else {}),
    }
    place = _place(hosts, ports) if is_plain else ""
    address = f"{_login(user, password)}{place}/{quote(database, safe='')}"
    return f"db+postgresql+psycopg2://{address}" + (f"?{urlencode(query, doseq=True)}" if query else "")


def libpq_params(database_url: str) -> dict[str, str]:
    """The address as libpq reads it, plus ``search_path``.

    Raises ValueError that names the variable and never shows the password.
    """
    address, _, query = database_url.partition("?")
    pieces = [piece for piece in query.split("&") if piece]
    search_paths = [unquote(piece.partition("=")[2]) for piece in pieces if piece.startswith("search_path=")]
    # Left as written: libpq has its own rules for what is escaped.
    kept = "&".join(piece for piece in pieces if not piece.startswith("search_path="))
    plain = f"postgresql://{address.partition('://')[2]}?{kept}"
    try:
        params = dict(parse_dsn(plain))
    except psycopg2.ProgrammingError as error:
        raise ValueError(_refusal(str(error).strip())) from None
    return {**params, "search_path": search_paths[-1]} if search_paths else params


def _login(user: str | None, password: str | None) -> str:
    # Written here and not by SQLAlchemy, which only workers need: it is a tenth of the memory of any other process.
    if user is None:
        return ""
    return quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}") + "@"


def _place(host: str, port: str) -> str:
    """One host, as addresses have it."""
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")


def _places(hosts: str, ports: str) -> dict[str, str | tuple[str, ...]]:
    """Sockets and several hosts as SQLAlchemy wants them, in the query; libpq takes one port for all hosts."""
    if "," not in hosts:
        return {name: value for name, value in (("host", hosts), ("port", ports)) if value}
    each = hosts.split(",")
    given = ports.split(",") if "," in ports else [ports] * len(each)
    return {"host": tuple(f"{host}:{port}" if port else host for host, port in zip(each, given, strict=True))}


def _refusal(words: str) -> str:
    # libpq quotes what it could not read, which may be the password; only a parameter's name is safe to repeat.
    reason = words if "invalid URI query parameter" in words else "it is no address that libpq can read"
    return f"RTMANAGER_DATABASE_URL: {reason}; write postgresql://user:password@host:5432/name"
