"""Model of the allowed results of a game, from the contract, without code of the service.

A game is in one of a few states. An action leads from each state to a result and another state. After an event with an
unknown effect, several states are possible; the next results narrow them down.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from deploy.local.docker.sample_images import SAMPLE_TAGS
from tests.chaos.storm.script import UNKNOWN_IMAGE


class State(NamedTuple):
    """``status`` of the record; ``unknown`` if there is no record."""

    status: str
    image: str = ""


class Action(NamedTuple):
    """``kind`` is the operation kind."""

    kind: str
    image: str = ""


class Answer(NamedTuple):
    """Outcome and error code of a result."""

    outcome: str
    code: str = ""


NEVER_STARTED = frozenset({State("unknown")})
ANY = frozenset({State("unknown"), *(State(s, i) for s in ("running", "stopped", "removed") for i in SAMPLE_TAGS)})
DONE, REPLAY = Answer("success"), Answer("success", "replay_no_op")
_NOT_FOUND, _CONFLICT = Answer("failure", "not_found"), Answer("failure", "conflict")
_NO_IMAGE = Answer("failure", "image_pull_failed")
# Docker did not respond before the first change; only REST callers get this result.
UNAVAILABLE = Answer("failure", "docker_unavailable")


@dataclass(slots=True)
class Game:
    """One game. ``states`` are its possible states."""

    states: frozenset[State] = NEVER_STARTED

    def accepts(self, action: Action, answer: Answer) -> bool:
        """Whether the contract allows this result now. Afterwards ``states`` are those that explain it."""
        after = frozenset(new for old in self.states for given, new in [_next(old, action)] if given == answer)
        self.states = after or ANY
        return bool(after)

    def becomes_unknown(self) -> None:
        """Something happened whose effect is unknown: allow every state."""
        self.states = ANY


def accepted(game: Game, actions: Iterable[tuple[Action, Answer]]) -> list[bool]:
    """Return for each action in order whether its result was allowed."""
    return [game.accepts(action, answer) for action, answer in actions]


def _next(old: State, action: Action) -> tuple[Answer, State]:
    if action.kind == "start":
        return _start(old, action.image)
    if old.status == "unknown":
        return _NOT_FOUND, old
    return {"stop": _stop, "restart": _restart, "cleanup_container": _cleanup}.get(
        action.kind, lambda state: _patch(state, action.image)
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
