"""Checks the Redis URLs of the settings, and converts them for Celery. No message shows a part that may be secret."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

EXAMPLE = "write redis://:password@host:6379/0"
_TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
_OPTIONS = {
    "redis": frozenset({"db", "username", "password"}),
    "rediss": frozenset({"db", "username", "password"}) | _TLS_OPTIONS,
    "unix": frozenset({"db", "username", "password"}),
}
_ENCODE = "in a user name or password write # as %23, / as %2F, ? as %3F and @ as %40"
_SAFE_NAME = re.compile(r"[a-z_]{1,40}")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A checked URL. ``credentials`` are percent-encoded and end with ``@``, or are empty."""

    scheme: str
    credentials: str
    address: str
    database: int
    options: dict[str, str]

    def for_celery(self, *, database: int) -> str:
        """Return the URL of this logical database for kombu, which verifies certificates only on request."""
        if self.scheme == "unix":
            return f"redis+socket://{self.credentials}{self.address}?virtual_host={database}"
        options = dict(self.options)
        if self.scheme == "rediss" and "ssl_cert_reqs" not in options:
            options = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true", **options}
        query = f"?{urlencode(options)}" if options else ""
        return f"{self.scheme}://{self.credentials}{self.address}/{database}{query}"


def parse_redis_url(url: str) -> RedisUrl:
    """Parse and check the URL. Raises ValueError that says what to write, without any value of the URL."""
    scheme, _, rest = url.partition("://")
    if any(word in scheme for word in ("sentinel", "cluster")):
        raise ValueError(_only_one_server("this scheme"))
    if scheme not in _OPTIONS:
        message = "only Redis and Valkey are supported; write redis://host:6379/0, rediss://… or unix:///path/of/socket"
        raise ValueError(message)
    before, _, query = rest.partition("?")
    netloc, slash, path = before.partition("/")
    if "#" in rest or "@" in path or "@" in query or "[" in netloc.rpartition("@")[0]:
        message = f"it has a special character in the wrong place; {_ENCODE}"
        raise ValueError(message)
    options = _options(scheme, query)
    userinfo, _, address = netloc.rpartition("@")
    if scheme == "unix":
        if address or not path:
            message = f"the path of the socket must be absolute; write unix:///path/of/socket?db=0; {_ENCODE}"
            raise ValueError(message)
        address, path = f"/{path}", ""
    else:
        check_address(address)
    username, password = options.pop("username", ""), options.pop("password", "")
    if username or password:
        userinfo = f"{quote(username, safe='')}:{quote(password, safe='')}"
    database = options.pop("db", path.strip("/") if slash else "") or "0"
    if not (database.isascii() and database.isdigit()):
        message = "the database after the host must be a number, as in redis://host:6379/0"
        raise ValueError(message)
    return RedisUrl(scheme, f"{userinfo}@" if userinfo else "", address, int(database), options)


def check_address(address: str) -> None:
    """Check ``host:port``, with a port if the host is followed by a colon. Raises ValueError."""
    if "," in address:
        raise ValueError(_only_one_server("a list of hosts"))
    if not address.startswith("[") and address.count(":") > 1:
        message = "an IPv6 address must be in brackets, as in [::1]:6379"
        raise ValueError(message)
    try:
        host, port = urlsplit(f"//{address}").hostname, urlsplit(f"//{address}").port
        is_valid = bool(host) and port != 0 and not address.endswith(":")
    except ValueError:
        is_valid = False
    if not is_valid or any(character in address for character in "/?#@ "):
        message = f"it needs a host, and a port from 1 to {_HIGHEST_PORT}; {EXAMPLE}; {_ENCODE}"
        raise ValueError(message)


def _options(scheme: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    for name in options:
        if name not in _OPTIONS[scheme]:
            shown = name if _SAFE_NAME.fullmatch(name) else "one of its options"
            needs_tls = "; it needs rediss://" if name in _TLS_OPTIONS else ""
            message = f"{shown} is not supported here{needs_tls}; options are {', '.join(sorted(_OPTIONS[scheme]))}"
            raise ValueError(message)
    if len(options) < len(pairs):
        message = "an option occurs twice"
        raise ValueError(message)
    if options.get("ssl_cert_reqs", "none") not in {"none", "optional", "required"}:
        message = "ssl_cert_reqs must be required, optional or none"
        raise ValueError(message)
    if options.get("ssl_check_hostname", "true") not in {"true", "false"}:
        message = "ssl_check_hostname must be true or false"
        raise ValueError(message)
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not Path(options[name]).is_file():
            message = f"{name} must be the path of a file on this host"
            raise ValueError(message)
    return options


def _only_one_server(found: str) -> str:
    return (
        f"{found} is not supported: RTM does not speak the protocols of Sentinel and Cluster. Write the address of one "
        "primary, or of a DNS name or proxy that follows it"
    )
