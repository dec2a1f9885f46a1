"""Removal of secrets from the environment, the inspection and the log lines in an exit report. Pure.

A secret is recognised by the name before it or by its format. In doubt the text is removed: more users read an exit
report than the log of the game.
"""

import re
from collections.abc import Sequence
from typing import Any

REDACTED = "«redacted»"

# In the name of a variable or a key.
_SECRET_NAME = re.compile(
    r"pass(?!ive|enger)|pwd|secret|token|credential|private|key|auth|bearer|cookie|session|signature|salt|dsn",
    re.IGNORECASE,
)
# In running text, where "pass: 10" and "session: 4" are normal: only names that mean a secret.
_WORD = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|credential|authorization|cookie|bearer"
    r"|(?:access|api|auth|encryption|licen[cs]e|master|private|secret|signing|ssh)[_-]?key|(?<![a-z])key)"
)
_VALUE = r"""(?:(?:bearer|basic|digest)\s+\S+|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|\\"[^"]*|[^\s,;&"'(){}\[\]<>]+)"""
_RULES: Sequence[tuple[re.Pattern[str], str]] = [
    (re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL), REDACTED),
    # A password may contain characters that a URL must not. After a colon, everything up to the last "@" is redacted.
    (
        re.compile(r"([a-z][a-z0-9+.-]{0,30}://)(?:[^\s/\"'<>]*|[^\s/:\"'<>]*:[^\s\"'<>]*)@", re.IGNORECASE),
        rf"\1{REDACTED}@",
    ),
    # The bounds keep the search linear: the lines come from unknown programs.
    (
        re.compile(rf"""({_WORD}[\w.-]{{0,40}}\\?["']?\]?\s{{0,3}}(?:=>|:=|[:=])\s{{0,3}}){_VALUE}""", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(rf"((?<![\w-])--[\w-]{{0,40}}?{_WORD}[\w-]{{0,40}}\s{{1,3}}){_VALUE}", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(bearer|basic)(\s{1,3})[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1\2{REDACTED}"),
    # A JSON web token; an API token of this service; keys of GitHub, GitLab, Slack, AWS, Stripe and similar services.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"), REDACTED),
    (re.compile(r"\brtm_[A-Za-z0-9]+_[\w-]{16,}"), REDACTED),
    (re.compile(r"\b(?:gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk[-_]|rk[-_]|pk[-_])[\w-]{16,}"), REDACTED),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
]
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]+-----")
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/=]{16,}")


def looks_secret(name: str) -> bool:
    """Whether a value with this name may be a secret."""
    return _SECRET_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """Replace every secret in the text. Idempotent; a text without a secret does not change."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_lines(lines: Sequence[str]) -> list[str]:
    """Replace every secret; the number of lines stays. All lines of a PEM key are replaced, even an incomplete one."""
    redacted = [redact_text(line) for line in lines]
    inside_key = False
    for number, line in enumerate(lines):
        begins, ends = _PEM_BEGIN.search(line) is not None, _PEM_END.search(line) is not None
        if ends and not begins and not inside_key:
            _redact_before(redacted, number)
        if inside_key or begins or ends:
            redacted[number] = REDACTED
        inside_key = (inside_key or begins) and not ends
    return redacted


def redact_environment(entries: Sequence[str]) -> list[str]:
    """Redact the values of ``NAME=value`` entries; the names stay."""
    variables = [entry.partition("=") for entry in entries]
    return [f"{name}{separator}{_redact_value(value, name=name)}" for name, separator, value in variables]


def redact_json(value: Any, *, name: str = "") -> Any:
    """Replace the secrets in the structure, by the name of their key or by their format."""
    if isinstance(value, dict):
        return {key: redact_json(inner, name=str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return redact_environment(list(map(str, value))) if name == "Env" else _redact_arguments(value, name=name)
    return _redact_value(value, name=name) if isinstance(value, str) else value


def _redact_value(value: str, *, name: str) -> str:
    return REDACTED if value and looks_secret(name) else redact_text(value)


def _redact_arguments(arguments: list[Any], *, name: str) -> list[Any]:
    """Redact a list that may be a command line: the argument after a flag such as ``--password`` is a secret too."""
    redacted = [redact_json(argument, name=name) for argument in arguments]
    for number, argument in enumerate(arguments[:-1]):
        is_flag = isinstance(argument, str) and argument.startswith("-") and "=" not in argument
        if is_flag and looks_secret(argument):
            redacted[number + 1] = REDACTED
    return redacted


def _redact_before(redacted: list[str], number: int) -> None:
    """Replace the lines of a key whose first line is missing."""
    while number and _BASE64_LINE.fullmatch(redacted[number - 1].strip()):
        number -= 1
        redacted[number] = REDACTED
