"""Taking secrets out of what is kept of a container: its environment, its inspection, its last lines. Pure.

A secret is known by the name in front of it or by its own shape. Where in doubt the text goes: a black box is read by
more people than the game's own log.
"""

import re
from collections.abc import Sequence
from typing import Any

REDACTED = "«redacted»"

# Of a variable or a key: any part of the name that could name a secret.
_SECRET_NAME = re.compile(
    r"pass(?!ive|enger)|pwd|secret|token|credential|private|key|auth|bearer|cookie|session|signature|salt|dsn",
    re.IGNORECASE,
)
# Of a word in a text, where "pass: 10" and "session: 4" are news: only names that hardly mean anything else.
_WORD = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|credential|authorization|cookie|bearer"
    r"|(?:access|api|auth|encryption|licen[cs]e|master|private|secret|signing|ssh)[_-]?key|(?<![a-z])key)"
)
_VALUE = r"""(?:(?:bearer|basic|digest)\s+\S+|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|\\"[^"]*|[^\s,;&"'(){}\[\]<>]+)"""
_RULES: Sequence[tuple[re.Pattern[str], str]] = [
    (re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL), REDACTED),
    # A password may hold what an address must not: with a colon, all up to the last "@" is taken for one.
    (
        re.compile(r"([a-z][a-z0-9+.-]{0,30}://)(?:[^\s/\"'<>]*|[^\s/:\"'<>]*:[^\s\"'<>]*)@", re.IGNORECASE),
        rf"\1{REDACTED}@",
    ),
    # The bounds keep the search linear: every line comes from a program that nobody here wrote.
    (
        re.compile(rf"""({_WORD}[\w.-]{{0,40}}\\?["']?\]?\s{{0,3}}(?:=>|:=|[:=])\s{{0,3}}){_VALUE}""", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(rf"((?<![\w-])--[\w-]{{0,40}}?{_WORD}[\w-]{{0,40}}\s{{1,3}}){_VALUE}", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(bearer|basic)(\s{1,3})[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1\2{REDACTED}"),
    # A JSON web token; a token of ours; keys of GitHub, GitLab, Slack, AWS, Stripe and their kin.
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"), REDACTED),
    (re.compile(r"\brtm_[A-Za-z0-9]+_[\w-]{16,}"), REDACTED),
    (re.compile(r"\b(?:gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk[-_]|rk[-_]|pk[-_])[\w-]{16,}"), REDACTED),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
]
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]+-----")
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/=]{16,}")


def looks_secret(name: str) -> bool:
    """Whether what stands under this name may be a secret."""
    return _SECRET_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """The text with every secret in it replaced. Idempotent; a text without one comes back as it was."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_lines(lines: Sequence[str]) -> list[str]:
    """As many lines as there were. Of a key that fills several, each is replaced, also when its first ones are lost."""
    redacted = [redact_text(line) for line in lines]
    inside = False
    for number, line in enumerate(lines):
        begins, ends = _PEM_BEGIN.search(line) is not None, _PEM_END.search(line) is not None
        if ends and not begins and not inside:
            _redact_before(redacted, number)
        if inside or begins or ends:
            redacted[number] = REDACTED
        inside = (inside or begins) and not ends
    return redacted


def redact_environment(entries: Sequence[str]) -> list[str]:
    """``NAME=value`` entries, the names kept."""
    return [_redact_variable(entry) for entry in entries]


def redact_json(value: Any, *, name: str = "") -> Any:
    """The same structure with the secrets in it replaced, by the key they stand under or by their shape."""
    if isinstance(value, dict):
        return {key: redact_json(inner, name=str(key)) for key, inner in value.items()}
    if name == "Env" and isinstance(value, list):
        return redact_environment([str(entry) for entry in value])
    if isinstance(value, list):
        return _redact_words(value, name=name)
    if isinstance(value, str) and value:
        return REDACTED if looks_secret(name) else redact_text(value)
    return value


def _redact_words(words: list[Any], *, name: str) -> list[Any]:
    """A list, which may be a command line: the word after a flag such as ``--password`` goes as well."""
    redacted = [redact_json(word, name=name) for word in words]
    for number, word in enumerate(words[:-1]):
        if isinstance(word, str) and word.startswith("-") and "=" not in word and looks_secret(word):
            redacted[number + 1] = REDACTED
    return redacted


def _redact_variable(entry: str) -> str:
    name, separator, value = entry.partition("=")
    if not value:
        return entry
    return f"{name}{separator}{REDACTED if looks_secret(name) else redact_text(value)}"


def _redact_before(redacted: list[str], number: int) -> None:
    """The lines of a key whose beginning was cut off with the lines before."""
    while number and _BASE64_LINE.fullmatch(redacted[number - 1].strip()):
        number -= 1
        redacted[number] = REDACTED
