"""The identity of a game: opaque to RTM, but it becomes a host name and a directory name."""

import re

from runtimes.exceptions import InvalidRequestError

GAME_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}"
_GAME_ID = re.compile(GAME_ID_PATTERN)


def is_game_id(text: object) -> bool:
    """Whether the text can name a game."""
    return isinstance(text, str) and _GAME_ID.fullmatch(text) is not None


def check_game_id(text: str) -> None:
    """Raise InvalidRequestError, with the rule, when the text cannot name a game."""
    if not is_game_id(text):
        message = (
            f"game_id {text[:60]!a} is not valid: 1 to 51 letters, digits, '_' or '-', the first a letter or digit"
        )
        raise InvalidRequestError(message)
