"""How times, names and commands are written for tired people. Pure, and without Django: the command line uses it."""

import shlex
from datetime import datetime, timedelta

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def span(length: timedelta) -> str:
    """``12 s``, ``4 min``, ``3 h`` or ``5 days``; never negative."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 2 * _MINUTE:
        return f"{seconds} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _HOUR} h" if seconds < 2 * _DAY else f"{seconds // _DAY} days"


def moment(at: datetime, *, now: datetime) -> str:
    """``03:12:09 UTC (4 min ago)``, with the date when it is another day, ``(in 20 s)`` when it is to come."""
    shown = f"{at:%H:%M:%S} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{shown} ({span(now - at)} ago)" if at <= now else f"{shown} (in {span(at - now)})"


def short(container_id: str) -> str:
    """A container's id as Docker's own lists show it."""
    return container_id[:12]


def verb_command(verb: str, game_id: str, *words: str) -> str:
    """The command line that does a verb."""
    return shlex.join(["rtm", verb, game_id, *words])


def one_line(text: str, *, longest: int = 300) -> str:
    """A message on one line, cut where it gets too long, without its full stop."""
    flat = " ".join(text.split()).rstrip(".")
    return flat if len(flat) <= longest else f"{flat[:longest]}…"
