"""The script of a storm, written before it starts: the same seed gives the same script."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from deploy.local.docker.sample_images import SAMPLE_TAGS

# No process listens there: the pull fails at once, without a network.
UNKNOWN_IMAGE = "127.0.0.1:9/no-such-engine:1.0.0"
REASONS = ("orphan_cleanup", "cancelled", "finished", "admin_request", "timeout")
LEASE_SECONDS = 6
# PostgreSQL disconnects a frozen leader after 15 s; some pauses last longer.
_LONGEST_PAUSE_SECONDS = 18.0
_JOBS_PER_GAME = 25
_BAD: Sequence[Mapping[str, str]] = (
    {"image_ref": SAMPLE_TAGS[0], "requested_at_ms": "soon"},
    {"requested_at_ms": "1800000000000"},
    {"game_id": "no game at all!", "image_ref": SAMPLE_TAGS[0], "requested_at_ms": "1800000000000"},
)


class Kind(StrEnum):
    """Who changes a game besides Game Lobby: no one; REST callers; an operator with ``docker kill``."""

    PLAIN = "plain"
    CALLED = "called"
    CHANGED_BY_HAND = "changed"


@dataclass(frozen=True, slots=True)
class Job:
    """A job entry. Without ``image`` it is a stop."""

    game_id: str
    image: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InvalidEntry:
    """An entry of the start stream that is not a valid job."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A REST call with its own Idempotency-Key. ``verb``: restart, patch or cleanup."""

    key: str
    game_id: str
    verb: str
    image: str = ""


@dataclass(frozen=True, slots=True)
class ManualChange:
    """``docker rm -f`` or ``docker kill`` by hand."""

    game_id: str
    removes: bool


Step = Job | InvalidEntry | Call | ManualChange


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, injected after ``after`` sent steps. ``pause_seconds`` 0: kill -9."""

    after: int
    program: str
    is_server: bool = False
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The number of jobs, calls and faults."""

    jobs: int
    kills: int
    server_kills: int
    pauses: int
    manual_changes: int
    seed: int
    most_live: int = 12


@dataclass(frozen=True, slots=True)
class Script:
    """All steps and faults, in order."""

    steps: Sequence[Step]
    faults: Sequence[Fault]


def write(scale: Scale) -> Script:
    """Return the script of this scale. Pure: it depends on the seed only."""
    steps = _Author(scale).steps()
    return Script(steps, sorted(_blows(scale, span=len(steps)), key=lambda fault: fault.after))


@dataclass(slots=True)
class _Author:
    """Writes mostly valid jobs; ``live`` is what it expects to be running."""

    scale: Scale
    chance: random.Random = field(init=False)
    games: Mapping[Kind, Sequence[str]] = field(init=False)
    live: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.scale.seed)  # noqa: S311 - the same script for the same seed
        self.games = _games(self.scale)

    def steps(self) -> list[Step]:
        steps: list[Step] = []
        everyone = [game for games in self.games.values() for game in games]
        jobs = 0
        while jobs < self.scale.jobs:
            written = list(self._jobs_for(self.chance.choice(everyone)))[: self.scale.jobs - jobs]
            jobs += len(written)
            steps += [*written, *self._asides()]
        return _strewn(steps, self._manual_changes(), self.chance)

    def _jobs_for(self, game_id: str) -> Iterator[Job]:
        dice, running = self.chance.random(), self.live.get(game_id)
        if not running and len(self.live) >= self.scale.most_live:
            game_id = self.chance.choice(sorted(self.live))
            running = self.live[game_id]
            dice = 1.0
        yield from self._for_running(game_id, running, dice) if running else self._for_idle(game_id, dice)

    def _for_running(self, game_id: str, image: str, dice: float) -> Iterator[Job]:
        if dice < 0.15:
            yield Job(game_id, image=image)
        elif dice < 0.25:
            yield Job(game_id, image=_other(image))
        elif dice < 0.30:
            yield Job(game_id, image=UNKNOWN_IMAGE)
        else:
            del self.live[game_id]
            yield from [self._stop(game_id)] * self.chance.choice((1, 1, 1, 2))

    def _for_idle(self, game_id: str, dice: float) -> Iterator[Job]:
        if dice < 0.10:
            yield self._stop(game_id)
        elif dice < 0.18:
            yield Job(game_id, image=UNKNOWN_IMAGE)
        else:
            self.live[game_id] = self.chance.choice(SAMPLE_TAGS)
            yield from [Job(game_id, image=self.live[game_id])] * self.chance.choice((1, 1, 1, 1, 2))

    def _stop(self, game_id: str) -> Job:
        return Job(game_id, reason=self.chance.choice(REASONS))

    def _asides(self) -> Iterator[Step]:
        if self.chance.random() < 0.03:
            yield InvalidEntry(self._bad_fields())
        if self.games[Kind.CALLED] and self.chance.random() < 0.25:
            yield self._call()

    def _bad_fields(self) -> Mapping[str, str]:
        fields = dict(self.chance.choice(_BAD))
        return fields if "game_id" in fields else {"game_id": self.chance.choice(self.games[Kind.PLAIN]), **fields}

    def _call(self) -> Call:
        self.calls += 1
        game_id = self.chance.choice(self.games[Kind.CALLED])
        verb = self.chance.choice(("restart", "patch", "cleanup"))
        image = self.chance.choice(SAMPLE_TAGS) if verb == "patch" else ""
        return Call(f"storm-{self.scale.seed}-{self.calls}", game_id, verb, image)

    def _manual_changes(self) -> list[Step]:
        games = self.games[Kind.CHANGED_BY_HAND]
        return [
            ManualChange(self.chance.choice(games), removes=self.chance.random() < 0.5)
            for _ in range(self.scale.manual_changes)
        ]


def _games(scale: Scale) -> Mapping[Kind, Sequence[str]]:
    count = max(8, scale.jobs // _JOBS_PER_GAME)
    called = count // 4
    changed = max(1, count // 10) if scale.manual_changes else 0
    sizes = {Kind.PLAIN: count - called - changed, Kind.CALLED: called, Kind.CHANGED_BY_HAND: changed}
    return {kind: [f"{kind}-{number}" for number in range(size)] for kind, size in sizes.items()}


def _other(image: str) -> str:
    return next(tag for tag in SAMPLE_TAGS if tag != image)


def _strewn(steps: Sequence[Step], more: Sequence[Step], chance: random.Random) -> list[Step]:
    mixed = list(steps)
    for one in more:
        mixed.insert(chance.randrange(len(mixed) // 10, len(mixed)), one)
    return mixed


def _blows(scale: Scale, *, span: int) -> Iterator[Fault]:
    # A separate random source: more kills do not change the jobs.
    chance = random.Random(f"blows {scale.seed}")  # noqa: S311 - the same
    for after in _evenly(scale.kills, span, chance):
        yield Fault(after, chance.choices(_VICTIMS, _WEIGHTS)[0])
    servers = [_SERVERS[number % len(_SERVERS)] for number in range(scale.server_kills)]
    chance.shuffle(servers)
    for after, server in zip(_evenly(scale.server_kills, span, chance), servers, strict=True):
        yield Fault(after, server, is_server=True)
    for after in _evenly(scale.pauses, span, chance):
        seconds = chance.uniform(LEASE_SECONDS + 1, _LONGEST_PAUSE_SECONDS)
        yield Fault(after, chance.choice(_PAUSED), pause_seconds=seconds)


def _evenly(count: int, span: int, chance: random.Random) -> list[int]:
    """Return one position in each of ``count`` equal intervals."""
    return [int((number + chance.random()) * span / count) for number in range(count)]


COPIES: Mapping[str, int] = {"bridge_jobs": 2, "relay_events": 2, "worker": 2}
_CHANCES: Mapping[str, int] = {
    "worker": 4, "worker-2": 4, "bridge_jobs": 3, "bridge_jobs-2": 3, "relay_events": 3, "relay_events-2": 3,
    "watch_runtimes": 2, "run_scheduler": 1, "web": 2,
}  # fmt: skip
_VICTIMS, _WEIGHTS = tuple(_CHANCES), tuple(_CHANCES.values())
_PAUSED = ("worker", "worker-2", "bridge_jobs", "bridge_jobs-2", "relay_events", "relay_events-2", "watch_runtimes")
_SERVERS = ("postgres", "valkey", "dockerd")
