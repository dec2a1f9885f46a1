"""Find in the last log lines what the system denied the engine: a permission, or a write to a read-only file system.

Pure. Error codes are preferred to messages. A message counts only if it is about files: databases and remote services
deny permissions with the same messages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# Enough lines to reach past the stack trace of a Java or Node program.
LINES = 80
_LONGEST = 2000


class DenialKind(StrEnum):
    """The error of the system call."""

    PERMISSION_DENIED = "permission_denied"
    NOT_PERMITTED = "not_permitted"
    READ_ONLY_FILESYSTEM = "read_only_filesystem"


@dataclass(frozen=True, slots=True)
class Denial:
    """One denial by the system. ``path``: the absolute path that the message names; empty without one."""

    kind: DenialKind
    path: str
    line: str


_CODES = {
    DenialKind.READ_ONLY_FILESYSTEM: re.compile(
        r"\bEROFS\b|\b[Ee]rrno:? ?30\b|\(os error 30\)|\(30: |\bOs \{ code: 30\b|\bReadOnlyFileSystemException\b"
    ),
    DenialKind.PERMISSION_DENIED: re.compile(
        r"\bEACCES\b|\b[Ee]rrno:? ?13\b|\(os error 13\)|\(13: |\bOs \{ code: 13\b|\bAccessDeniedException\b"
    ),
    DenialKind.NOT_PERMITTED: re.compile(r"\bEPERM\b|\b[Ee]rrno:? ?1\b|\(os error 1\)|\(1: Oper|\bOs \{ code: 1\b"),
}
_MESSAGES = {
    DenialKind.READ_ONLY_FILESYSTEM: re.compile(r"read-only file ?system", re.IGNORECASE),
    DenialKind.PERMISSION_DENIED: re.compile(
        r"permission denied(?! \(publickey)|access to the path .* is denied|PermissionError", re.IGNORECASE
    ),
    DenialKind.NOT_PERMITTED: re.compile(r"operation not permitted", re.IGNORECASE),
}
_ENDINGS = ("permission denied", "operation not permitted", "read-only file system")
# Denials on the network or by another program are not about files.
_ELSEWHERE = re.compile(
    r"\b(bind|listen|connect|dial|socket|listening|rpc|grpc|http|https|sql|postgres\w*|mysql|redis|ssh|server|remote"
    r"|status|answered|40[13])\b|[a-z]+://",
    re.IGNORECASE,
)
# The message in a sentence of another program: "permission denied for table players".
_SENTENCE = re.compile(r"permission denied (for|to|on) (?!/)", re.IGNORECASE)
# A quoted path may contain blanks. A plain one ends at a blank, a colon, a quote or a bracket.
_OPENING, _CLOSING = "\"'`\u2018\u201c\u00ab", "\"'`\u2019\u201d\u00bb"
_QUOTED = re.compile(rf"[{_OPENING}](/[^{_CLOSING}\n]*)[{_CLOSING}]")
_PLAIN = re.compile(r"(?<![\w./:~-])(/[^\s:;,'\"()\[\]{}<>|*]+)")
_STACK_FRAME = re.compile(r"^\s+(at\s|File \"|from\s)|^goroutine |^\t/")
# The program name before a message, as a shell prints it. With a line number it is the name of a script.
_PROGRAM = re.compile(
    r"^\S*/(?:sh|bash|dash|ash|busybox|docker-entrypoint\.sh|entrypoint\.sh|python\d*|node|java)(?=:)"
    r"|^/[^\s:]+(?=: (?:line )?\d+: )"
)


def find_denial(lines: Sequence[str]) -> Denial | None:
    """The last denial in the lines, which are ordered oldest first; None if there is none."""
    candidates = (line[:_LONGEST] for line in reversed(lines[-LINES:]) if not _STACK_FRAME.match(line))
    return next((denial for line in candidates if (denial := _denial_in(line)) is not None), None)


def _denial_in(line: str) -> Denial | None:
    by_code = _kind(_CODES, line)
    kind = by_code or _kind(_MESSAGES, line)
    if kind is None:
        return None
    path = _path_in(line)
    if _SENTENCE.search(line) or (not path and _ELSEWHERE.search(line)):
        return None
    # The messages of the C library are at the end of the line.
    ends_with_message = line.rstrip(" .!)\"'\t").lower().endswith(_ENDINGS)
    return Denial(kind, path, line) if path or by_code or ends_with_message else None


def _kind(patterns: dict[DenialKind, re.Pattern[str]], line: str) -> DenialKind | None:
    return next((kind for kind, pattern in patterns.items() if pattern.search(line)), None)


def _path_in(line: str) -> str:
    text = _PROGRAM.sub("", line)
    program, _colon, message = text.partition(": ")
    if program.startswith("/") and _first_path(_before_message(message)):
        # Of two paths, the first is the program that prints the message.
        text = message
    match = _first_path(text)
    return match[1].rstrip("/.") or "/" if match else ""


def _first_path(text: str) -> re.Match[str] | None:
    return _QUOTED.search(text) or _PLAIN.search(text)


def _before_message(message: str) -> str:
    """The text before the denial: a path after it has another meaning."""
    starts = [match.start() for pattern in _MESSAGES.values() if (match := pattern.search(message))]
    return message[: min(starts, default=None)]
