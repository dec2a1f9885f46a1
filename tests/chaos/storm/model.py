"""What may be answered: a game as the contract sees it, with nothing of the service's own code in it.

A game is in one of a few states; a deed leads from each to an answer and another state. After something whose effect
nobody can know, a game may be in several states at once, and the next answers narrow them down again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rtmanager.local.images import SAMPLE_TAGS
from tests.chaos.storm.script import UNKNOWN_IMAGE


class State(NamedTuple):
    """``status`` as on record, ``unknown`` when there is no record."""

    status: str
    image: str = ""


class Deed(NamedTuple):
    """``kind`` as the operation log has it."""

    kind: str
    image: str = ""


class Answer(NamedTuple):
    """As in a result."""

    outcome: str
    code: str = ""


NEVER_STARTED = frozenset({State("unknown")})
ANY = frozenset({State("unknown"), *(State(s, i) for s in ("running", "stopped", "removed") for i in SAMPLE_TAGS)})
DONE, REPLAY = Answer("success"), Answer("success", "replay_no_op")
_NOT_FOUND, _CONFLICT = Answer("failure", "not_found"), Answer("failure", "conflict")
_NO_IMAGE = Answer("failure", "image_pull_failed")
# Docker was away and nothing had been touched; only REST callers are told.
AWAY = Answer("failure", "docker_unavailable")


@dataclass(slots=True)
class Game:
    """Follows one game. ``states`` are those it may be in."""

    states: frozenset[State] = NEVER_STARTED

    def accepts(self, deed: Deed, answer: Answer) -> bool:
        """Whether the contract allows this answer now. Afterwards the game is in one of the states that explain it."""
        after = frozenset(new for old in self.states for given, new in [_next(old, deed)] if given == answer)
        self.states = after or ANY
        return bool(after)

    def loses_sight(self) -> None:
        """Something happened whose effect is not known from its answer."""
        self.states = ANY


def accepted(game: Game, deeds: Iterable[tuple[Deed, Answer]]) -> list[bool]:
    """Of each deed in turn, whether its answer was allowed."""
    return [game.accepts(deed, answer) for deed, answer in deeds]


def _next(old: State, deed: Deed) -> tuple[Answer, State]:
    if deed.kind == "start":
        return _start(old, deed.image)
    if old.status == "unknown":
        return _NOT_FOUND, old
    return {"stop": _stop, "restart": _restart, "cleanup_container": _cleanup}.get(
        deed.kind, lambda state: _patch(state, deed.image)
    )(old)


def _start(old: State, image: str) -> tuple[Answer, State]:
    if old.status == "running":
        return (REPLAY if old.image == image else _CONFLICT), old
    return (_NO_IMAGE, old) if image == UNKNOWN_IMAGE else (DONE, State("running", image))


def _stop(old: State) -> tuple[Answer, State]:
    return (DONE, State("stopped", old.image)) if old.status == "running" else (REPLAY, old)


def _restart(old: State) -> tuple[Answer, State]:
    return (_CONFLICT, old) if old.status == "removed" else (DONE, State("running", old.image))


def _patch(old: State, image: str) -> tuple[Answer, State]:
    if old.status == "removed":
        return _CONFLICT, old
    return (REPLAY, old) if old.image == image else (DONE, State("running", image))


def _cleanup(old: State) -> tuple[Answer, State]:
    if old.status == "running":
        return _CONFLICT, old
    return (REPLAY, old) if old.status == "removed" else (DONE, State("removed", old.image))
