"""Game ids: opaque to RTM, but also used as host names and directory names."""

import re

from runtimes.exceptions import InvalidRequestError

GAME_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}"
_GAME_ID = re.compile(GAME_ID_PATTERN)


def is_game_id(text: object) -> bool:
    """Whether the text is a valid game id."""
    return isinstance(text, str) and _GAME_ID.fullmatch(text) is not None


def check_game_id(text: str) -> None:
    """Raise InvalidRequestError with the rule if the text is not a valid game id."""
    if not is_game_id(text):
        raise InvalidRequestError(
            f"game_id {text[:60]!a} is not valid: 1 to 51 letters, digits, '_' or '-', the first a letter or digit"
        )
