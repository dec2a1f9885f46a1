"""Render the JSON form of an explanation as text for a terminal. Without Django: the command line uses it too."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from runtimes.formatting import format_duration, format_memory, format_time, short_id

Json = Mapping[str, Any]

_LABEL = 11
_CPU = 1_000_000_000


def render(explanation: Json, *, width: int = 100) -> str:
    """The whole explanation: cause and next step first, then the evidence. Lines are wrapped at ``width``."""
    now = _time(explanation["as_of"])
    sections = [
        _head(explanation, now, width),
        # An older service does not send notes and configuration.
        _labelled("note", (_note(row, now) for row in explanation.get("notes", [])), width),
        _sides(explanation),
        _configuration(explanation.get("configuration", []), width),
        _labelled("blocked by", (_blocker(row, now) for row in explanation["blocked_by"]), width),
        _operations("open", explanation["open_operations"], now, width),
        _operations("last", explanation["last_operations"], now, width),
        _labelled("health", (_event(row, now) for row in explanation["health_history"][:5]), width),
        _labelled("dead letter", (_dead_letter(row, now) for row in explanation["dead_letters"]), width),
        _rest(explanation, width),
    ]
    text = "\n\n".join("\n".join(lines) for lines in sections if lines)
    # A control character in a message could move the cursor.
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _head(explanation: Json, now: datetime, width: int) -> list[str]:
    step, automatic = explanation["next_step"], explanation["next_automatic"]
    return [
        f"{explanation['severity'].upper()}  {explanation['cause']}  (game {explanation['game_id']})",
        *_wrap(explanation["headline"] + ".", width),
        *_wrap(explanation["detail"], width),
        "",
        *_labelled("do", [f"{step['text']}."], width),
        *([f"{'':{_LABEL}}$ {step['command']}"] if step["command"] else []),
        *_labelled("automatic", [f"{automatic['text']}{_at(': ', automatic['at'], now)}."], width),
    ]


def _note(note: Json, now: datetime) -> str:
    return f"{note['text']}{_at(', at ', note['at'], now)}."


def _blocker(blocker: Json, now: datetime) -> str:
    return f"{blocker['what']}: {blocker['text']}{_at(', until ', blocker['until'], now)}"


def _sides(explanation: Json) -> list[str]:
    recorded, observed, desired = (explanation[side] or {} for side in ("recorded", "observed", "desired"))
    is_known = observed.get("known", False)
    state = (observed.get("state") or "no container") if is_known else "unknown"
    rows = [
        ("", "recorded", "observed", "desired"),
        ("status", recorded.get("status"), state, desired.get("status")),
        ("image", recorded.get("current_image_ref"), observed.get("image_ref"), desired.get("image_ref")),
        ("container", recorded.get("current_container_id"), observed.get("container_id"), None),
        ("network", recorded.get("docker_network"), ", ".join(observed.get("networks", [])), None),
    ]
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [_LABEL, *(max(map(len, column)) + 2 for column in list(zip(*cells, strict=True))[1:])]
    differing = {difference["what"] for difference in explanation["differences"]}
    lines = []
    for row in cells:
        padded = "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append((padded + ("  <> differs" if row[0] in differing else "")).rstrip())
    return lines


def _cell(value: str | None) -> str:
    text = value or ""
    is_id = len(text) == 64 and text.isalnum()  # noqa: PLR2004 - how long Docker's ids are
    return short_id(text) if is_id else text


def _configuration(differences: Sequence[Json], width: int) -> list[str]:
    if not differences:
        return []
    lines = ["Differences from what Runtime Manager would create; the next restart ends them:"]
    for difference in differences:
        by = f" ({difference['decided_by']})" if difference["decided_by"] else ""
        field, kind = (difference[name].replace("_", " ") for name in ("field", "kind"))
        what = field if field == kind else f"{field} ({kind})"
        lines += _labelled("", [f"{what}: {difference['in_force']}, should be {difference['wanted']}{by}"], width)
    return lines


def _operations(label: str, operations: Sequence[Json], now: datetime, width: int) -> list[str]:
    lines: list[str] = []
    for operation in operations:
        result = operation["outcome"] or operation["state"]
        code = f" ({operation['error_code']})" if operation["error_code"] else ""
        at = format_time(_time(operation["accepted_at"]), now=now)
        by = f"by {operation['op_source']} {operation['source_ref']}".rstrip()
        text = f"#{operation['id']} {operation['op_kind']} {result}{code}, {at}, {by}"
        lines += _labelled("" if lines else label, [text], width)
        for detail in (operation["error_message"], " > ".join(map(_step, operation["steps"]))):
            lines += (f"{'':{_LABEL + 2}}{line}" for line in _wrap(detail, width - _LABEL - 2))
    return lines


def _step(step: Json) -> str:
    duration_ms = step["duration_ms"]
    if duration_ms is None:
        took = "running"
    elif duration_ms < 1000:  # noqa: PLR2004 - below a second
        took = f"{duration_ms} ms"
    else:
        took = format_duration(timedelta(milliseconds=duration_ms))
    return f"{step['name']} {took}{' FAILED' if step['error'] else ''}"


def _event(event: Json, now: datetime) -> str:
    details = " ".join(f"{name}={value}" for name, value in event["details"].items())
    return f"{event['event_type']} {format_time(_time(event['occurred_at']), now=now)} {details}".rstrip()


def _dead_letter(row: Json, now: datetime) -> str:
    return f"#{row['id']} {row['stream']} {format_time(_time(row['received_at']), now=now)}: {row['reason']}"


def _rest(explanation: Json, width: int) -> list[str]:
    limits, report = explanation["limits"], explanation["exit_report"]
    reports = [f"#{report}: exit code and last log lines of its container"] if report else []
    return [
        *_labelled("limits", [", ".join(_limits(limits))] if limits else [], width),
        *_labelled("mounts", map(_mount, limits.get("mounts", [])), width),
        *_labelled("report", reports, width),
    ]


def _mount(mount: Json) -> str:
    return f"{mount['target']} from {mount['source'] or mount['type']}{', read-only' if mount['read_only'] else ''}"


def _limits(limits: Json) -> Iterator[str]:
    yield f"{format_memory(limits.get('memory_bytes', 0))} memory"
    yield f"{limits.get('nano_cpus', 0) / _CPU:g} CPU"
    yield f"{limits.get('pids_limit', 0)} processes"
    yield "read-only root" if limits.get("read_only") else "writable root"
    if limits.get("cap_drop"):
        yield f"capabilities dropped: {' '.join(limits['cap_drop'])}"
    yield from limits.get("security_opt", [])


def _labelled(label: str, texts: Iterable[str], width: int) -> list[str]:
    """The wrapped texts, indented; the label is before the first line."""
    lines = [line for text in texts for line in _wrap(text, width - _LABEL) or ["-"]]
    return [f"{label if number == 0 else '':{_LABEL}}{line}" for number, line in enumerate(lines)]


def _at(prefix: str, at: str | None, now: datetime) -> str:
    return f"{prefix}{format_time(_time(at), now=now)}" if at else ""


def _wrap(text: str, width: int) -> list[str]:
    # Commands, ids and image references must stay whole to be copied.
    return textwrap.wrap(text, width=width, break_long_words=False, break_on_hyphens=False)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
