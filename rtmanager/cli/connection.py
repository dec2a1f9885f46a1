"""What the environment says: the address and the token (options first, then variables, then the file), and colours.

No option takes a token: every process of the machine can read a command line.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from rtmanager.cli.errors import CliError, ExitCode

DEFAULT_URL = "http://127.0.0.1:8096"
DEFAULT_CONFIG = "~/.config/rtm.toml"
_KEYS = frozenset({"url", "token", "token_file"})


@dataclass(frozen=True, slots=True)
class Connection:
    """An address without a trailing slash, and a token; the token is empty if none is configured."""

    url: str
    token: str = field(repr=False)


def read_connection(*, url: str | None, token_file: str | None, config: str | None) -> Connection:
    """Return the connection. Raises CliError that names the unusable file or value.

    The file ``config`` must exist. None means the default file, which may be missing.
    """
    values = _read_config(_expand(config or DEFAULT_CONFIG), is_required=config is not None)
    address = url or values.get("url") or DEFAULT_URL
    if not _is_http_address(address):
        raise _unusable(f"{address!r} is not the address of a service", f"Write --url or RTM_URL like {DEFAULT_URL}.")
    return Connection(url=address.rstrip("/"), token=_find_token(token_file, values))


def colours_are_off() -> bool:
    """Return whether the environment asks for output without colours (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def is_loopback(url: str) -> bool:
    """Return whether the URL names this machine: ``localhost``, a name below it, or a loopback address."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _is_http_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_complete = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        return is_complete and not any(character.isspace() for character in url)
    except ValueError:
        return False


def _find_token(token_file: str | None, values: Mapping[str, str]) -> str:
    if token_file:
        return _read_token(token_file)
    if token := os.environ.get("RTM_TOKEN", "").strip():
        return _checked(token, "RTM_TOKEN")
    if values.get("token"):
        return _checked(values["token"], "the configuration file")
    return _read_token(values["token_file"]) if values.get("token_file") else ""


def _read_token(path: str) -> str:
    return _checked(_read(_expand(path)).strip(), path)


def _checked(token: str, source: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise _unusable(f"invalid token in {source}", "A token is one word that begins with rtm_.")
    return token


def _read_config(path: Path, *, is_required: bool) -> Mapping[str, str]:
    if not is_required and not _exists(path):
        return {}
    try:
        values = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise _unusable(f"{path} is not TOML: {error}", 'Write lines like url = "https://…".') from None
    invalid = sorted(name for name, value in values.items() if name not in _KEYS or not isinstance(value, str))
    if invalid:
        advice = f"Allowed keys: {', '.join(sorted(_KEYS))}. Each value is a string."
        raise _unusable(f"{path} has invalid entries: {', '.join(invalid)}", advice)
    if "token" in values and path.stat().st_mode & 0o077:
        raise _unusable(f"{path} contains a token and other users can read it", f"Restrict it: chmod 600 {path}")
    return values


def _expand(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        # A user without an entry in the system's list, with no HOME: the path stays as it is, and no such file exists.
        return Path(path)


def _exists(path: Path) -> bool:
    """Whether the file exists. A folder that this user may not enter, as with ``sudo -u``, has none for it."""
    try:
        return path.exists()
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _unusable(f"{path} cannot be read: {reason}", "Name a file that exists and is readable.") from None


def _unusable(message: str, advice: str) -> CliError:
    return CliError(message, exit_code=ExitCode.USAGE, advice=advice)
