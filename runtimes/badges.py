"""Status words with a colour, as every page of the admin shows them. The word always stands there too."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

_TONES = {
    "running": "good", "success": "good", "ok": "good", "healthy": "good", "finished": "calm",
    "stopped": "calm", "removed": "faint", "accepted": "calm", "info": "calm",
    "warning": "warn", "starting": "warn", "failure": "bad", "critical": "bad", "failed": "bad",
}  # fmt: skip


def tone(word: str | None) -> str:
    """The colour class of a status word."""
    return _TONES.get(word or "", "calm")


def badge(word: str, colour: str = "") -> SafeString:
    """A status word in its colour, or in the colour given."""
    return format_html('<span class="rtm-badge rtm-{}">{}</span>', colour or tone(word), word)
