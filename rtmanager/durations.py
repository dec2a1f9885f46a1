"""Human durations and sizes, as operators write them in settings: ``500ms``, ``30s``, ``5m``, ``1h``, ``90d``."""

import re
from datetime import timedelta

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """Turn ``500ms``, ``30s``, ``5m``, ``1h``, ``90d`` or a sum such as ``1h30m`` into a timedelta.

    Raises ValueError with a sentence for the operator when the text is anything else; a bare
    number is refused because its unit would be a guess.
    """
    cleaned = text.strip()
    try:
        if _DURATION.fullmatch(cleaned):
            parts = _DURATION_PART.findall(cleaned)
            return sum((timedelta(**{_UNITS[unit]: float(amount)}) for amount, unit in parts), timedelta())
    except OverflowError:
        # Longer than time itself: no duration either.
        pass
    message = f"{text[:60]!r} is not a duration; write for example 500ms, 30s, 5m, 1h or 90d"
    raise ValueError(message)
