"""Log lines with ANSI colours as safe HTML.

The text is escaped first; a colour code becomes a CSS class of our own, and every other control code is removed.
"""

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

# A complete CSI or OSC sequence, another two-character escape, or a single control character except tab and newline.
_CONTROL = re.compile(
    r"\x1b\[([0-9;:]*)m"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_RESET, _BOLD, _NOT_BOLD, _EXTENDED, _DEFAULT_COLOUR = 0, 1, 22, (38, 48), 39
_EXTENDED_LENGTH = {"5": 2, "2": 4}


def strip_ansi(text: str) -> str:
    """The text without control codes."""
    return _CONTROL.sub("", text)


def render_ansi(text: str) -> SafeString:
    """The text as HTML: escaped, with foreground colours and bold as spans."""
    parts: list[str] = []
    colour, is_bold, position = "", False, 0
    for match in _CONTROL.finditer(text):
        parts.append(_span(text[position : match.start()], colour, is_bold=is_bold))
        position = match.end()
        if match[1] is not None:
            colour, is_bold = _apply(match[1], colour, is_bold=is_bold)
    parts.append(_span(text[position:], colour, is_bold=is_bold))
    return mark_safe("".join(parts))  # noqa: S308 - _span escapes the text; the classes come from a fixed list


def _span(text: str, colour: str, *, is_bold: bool) -> str:
    classes = " ".join(f"rtm-ansi-{name}" for name in (colour, "bold" if is_bold else "") if name)
    escaped = str(escape(text))
    return f'<span class="{classes}">{escaped}</span>' if classes and text else escaped


def _apply(parameters: str, colour: str, *, is_bold: bool) -> tuple[str, bool]:
    """The style after one SGR code. Background, 256-colour and true-colour parameters are read and ignored."""
    codes = iter(parameters.replace(":", ";").split(";"))
    for text in codes:
        code = int(text[:4] or 0)
        if code == _RESET:
            colour, is_bold = "", False
        elif code in {_BOLD, _NOT_BOLD}:
            is_bold = code == _BOLD
        elif code in _EXTENDED:
            for _skipped in range(_EXTENDED_LENGTH.get(next(codes, ""), 0) - 1):
                next(codes, "")
        elif code == _DEFAULT_COLOUR:
            colour = ""
        elif code // 10 in {3, 9} and code % 10 < len(_COLOURS):
            colour = _COLOURS[code % 10]
    return colour, is_bold
