"""Which service to talk to and as whom: options, the environment, a file of the user's own; the first that says so.

A token is never taken from the command line, where every process of the machine could read it.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rtmanager.cli.failures import ExitCode, Failure

DEFAULT_URL = "http://127.0.0.1:8096"
DEFAULT_CONFIG = "~/.config/rtm.toml"
_KEYS = frozenset({"url", "token", "token_file"})


@dataclass(frozen=True, slots=True)
class Connection:
    """An address without a trailing slash, and a token, empty where the service asks for none."""

    url: str
    token: str = field(repr=False)


def read_connection(*, url: str | None, token_file: str | None, config: str | None) -> Connection:
    """Put together what was given. Raises Failure naming the file or value that cannot be used.

    ``config`` is a file that must exist; None means the default one, which need not.
    """
    stated = _read_config(Path(config or DEFAULT_CONFIG).expanduser(), is_wanted=config is not None)
    address = url or stated.get("url") or DEFAULT_URL
    if not address.startswith(("http://", "https://")):
        message = f"{address!r} is no address of a service"
        raise Failure(message, exit_code=ExitCode.USAGE, advice=f"Write --url or RTM_URL like {DEFAULT_URL}.")
    return Connection(url=address.rstrip("/"), token=_find_token(token_file, stated))


def _find_token(token_file: str | None, stated: Mapping[str, str]) -> str:
    if token_file:
        return _read_token(token_file)
    if token := os.environ.get("RTM_TOKEN", "").strip():
        return _checked(token, "RTM_TOKEN")
    if stated.get("token"):
        return _checked(stated["token"], "the configuration file")
    return _read_token(stated["token_file"]) if stated.get("token_file") else ""


def _read_token(path: str) -> str:
    return _checked(_read(Path(path).expanduser()).strip(), path)


def _checked(token: str, where: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        message = f"what {where} holds is no token"
        raise Failure(message, exit_code=ExitCode.USAGE, advice="A token is one word that begins with rtm_.")
    return token


def _read_config(path: Path, *, is_wanted: bool) -> Mapping[str, str]:
    if not is_wanted and not path.exists():
        return {}
    try:
        stated = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        message = f"{path} is not TOML: {error}"
        raise Failure(message, exit_code=ExitCode.USAGE, advice='Write lines like url = "https://…".') from None
    odd = sorted(name for name, value in stated.items() if name not in _KEYS or not isinstance(value, str))
    if odd:
        message = f"{path} has something that cannot be used: {', '.join(odd)}"
        raise Failure(message, exit_code=ExitCode.USAGE, advice=f"It may hold {', '.join(sorted(_KEYS))}, as texts.")
    _refuse_if_shared(path, stated)
    return stated


def _refuse_if_shared(path: Path, stated: Mapping[str, str]) -> None:
    if "token" in stated and path.stat().st_mode & 0o077:
        message = f"{path} holds a token and others may read it"
        raise Failure(message, exit_code=ExitCode.USAGE, advice=f"Close it to them: chmod 600 {path}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"{path} cannot be read: {reason}"
        raise Failure(
            message, exit_code=ExitCode.USAGE, advice="Give a file that exists and that you may read."
        ) from None
