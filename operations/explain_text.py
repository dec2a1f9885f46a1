"""An explanation as text for a terminal, made from its JSON form. Without Django: the command line prints it too."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from operations.diagnosis.words import moment, short, span

Json = Mapping[str, Any]

_LABEL = 11
_MIB = 1024**2
_CPU = 1_000_000_000
_EMPTY = "-"


def render(explanation: Json, *, width: int = 100) -> str:
    """The whole answer: the cause and what to do in front, what speaks for it below. Lines are wrapped at ``width``."""
    now = _time(explanation["as_of"])
    parts = [
        _head(explanation, now, width),
        _sides(explanation),
        _blocked(explanation, now, width),
        _operations("open", explanation["open_operations"], now, width),
        _operations("last", explanation["last_operations"], now, width),
        _history(explanation, now, width),
        _letters(explanation, now, width),
        _rest(explanation, width),
    ]
    return "\n\n".join(part for part in (clean(text) for text in parts) if part)


def clean(text: str) -> str:
    """Without the control characters that somebody may have put into a message: they would move the cursor."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _head(explanation: Json, now: datetime, width: int) -> str:
    step, automatic = explanation["next_step"], explanation["next_automatic"]
    title = f"{explanation['severity'].upper()}  {explanation['cause']}  (game {explanation['game_id']})"
    lines = [title, *_wrap(explanation["headline"] + ".", width)]
    if explanation["detail"]:
        lines += _wrap(explanation["detail"], width)
    lines += ["", *_labelled("do", f"{step['text']}.", width)]
    if step["command"]:
        lines.append(f"{'':{_LABEL}}$ {step['command']}")
    at = f": {moment(_time(automatic['at']), now=now)}" if automatic["at"] else ""
    return "\n".join([*lines, *_labelled("by itself", f"{automatic['text']}{at}.", width)])


def _sides(explanation: Json) -> str:
    recorded, observed, desired = (explanation[side] or {} for side in ("recorded", "observed", "desired"))
    is_known = observed.get("known", False)
    seen = (observed.get("state") or "no container") if is_known else "unknown"
    rows = [
        ("", "recorded", "observed", "desired"),
        ("status", recorded.get("status"), seen, desired.get("status")),
        ("image", recorded.get("current_image_ref"), observed.get("image_ref"), desired.get("image_ref")),
        ("container", recorded.get("current_container_id"), observed.get("container_id"), None),
        ("network", recorded.get("docker_network"), ", ".join(observed.get("networks", [])), None),
    ]
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    differing = {one["what"] for one in explanation["differences"]}
    return "\n".join(_row(row, widths, is_marked=row[0] in differing) for row in cells)


def _row(row: Sequence[str], widths: Sequence[int], *, is_marked: bool) -> str:
    padded = [f"{row[0]:{_LABEL}}", *(cell.ljust(width + 2) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return ("".join(padded) + ("  <> differs" if is_marked else "")).rstrip()


def _cell(value: str | None) -> str:
    text = value or ""
    is_id = len(text) == 64 and text.isalnum()  # noqa: PLR2004 - how long Docker's ids are
    return short(text) if is_id else text


def _blocked(explanation: Json, now: datetime, width: int) -> str:
    lines: list[str] = []
    for one in explanation["blocked_by"]:
        until = f", until {moment(_time(one['until']), now=now)}" if one["until"] else ""
        lines += _labelled("" if lines else "blocked by", f"{one['what']}: {one['text']}{until}", width)
    return "\n".join(lines)


def _operations(label: str, operations: Sequence[Json], now: datetime, width: int) -> str:
    lines: list[str] = []
    for one in operations:
        how = one["outcome"] or one["state"]
        code = f" ({one['error_code']})" if one["error_code"] else ""
        told = f"#{one['id']} {one['op_kind']} {how}{code}, {moment(_time(one['accepted_at']), now=now)}, "
        by = f"by {one['op_source']} {one['source_ref']}".rstrip()
        lines += _labelled("" if lines else label, told + by, width)
        if one["error_message"]:
            lines += _indented(one["error_message"], width)
        if one["steps"]:
            lines += _indented(" > ".join(_step(step) for step in one["steps"]), width)
    return "\n".join(lines)


def _step(step: Json) -> str:
    took = span(timedelta(milliseconds=step["duration_ms"])) if step["duration_ms"] is not None else "under way"
    if step["duration_ms"] is not None and step["duration_ms"] < 1000:  # noqa: PLR2004 - below a second
        took = f"{step['duration_ms']} ms"
    return f"{step['name']} {took}{' FAILED' if step['error'] else ''}"


def _history(explanation: Json, now: datetime, width: int) -> str:
    lines: list[str] = []
    for one in explanation["health_history"][:5]:
        details = " ".join(f"{name}={value}" for name, value in one["details"].items())
        told = f"{one['event_type']} {moment(_time(one['occurred_at']), now=now)} {details}"
        lines += _labelled("" if lines else "health", told.rstrip(), width)
    return "\n".join(lines)


def _letters(explanation: Json, now: datetime, width: int) -> str:
    lines: list[str] = []
    for one in explanation["dead_letters"]:
        told = f"#{one['id']} {one['stream']} {moment(_time(one['received_at']), now=now)}: {one['reason']}"
        lines += _labelled("" if lines else "unread", told, width)
    return "\n".join(lines)


def _rest(explanation: Json, width: int) -> str:
    lines = _labelled("limits", ", ".join(_limits(explanation["limits"])), width) if explanation["limits"] else []
    if explanation["black_box"]:
        lines += _labelled("black box", f"#{explanation['black_box']} holds the last words of its container", width)
    return "\n".join(lines)


def _limits(limits: Json) -> Iterator[str]:
    yield f"{limits.get('memory_bytes', 0) / _MIB:.0f} MiB memory"
    yield f"{limits.get('nano_cpus', 0) / _CPU:g} CPU"
    yield f"{limits.get('pids_limit', 0)} processes"
    yield "read-only root" if limits.get("read_only") else "writable root"
    if limits.get("cap_drop"):
        yield f"capabilities dropped: {' '.join(limits['cap_drop'])}"
    yield from limits.get("security_opt", [])


def _labelled(label: str, text: str, width: int) -> list[str]:
    first, *rest = _wrap(text, width - _LABEL) or [_EMPTY]
    return [f"{label:{_LABEL}}{first}", *(f"{'':{_LABEL}}{line}" for line in rest)]


def _indented(text: str, width: int) -> list[str]:
    return [f"{'':{_LABEL + 2}}{line}" for line in _wrap(text, width - _LABEL - 2)]


def _wrap(text: str, width: int) -> list[str]:
    # Commands, ids and image references must stay whole to be copied.
    return textwrap.wrap(text, width=width, break_long_words=False, break_on_hyphens=False)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
