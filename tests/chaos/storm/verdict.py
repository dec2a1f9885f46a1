"""Evaluates the collected records: each invariant and its violations. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.storm.callers import CallResult
from tests.chaos.storm.collected_records import Container, Entry, Evidence, Operation, Record
from tests.chaos.storm.model import UNAVAILABLE, Action, Answer, Game
from tests.chaos.storm.script import InvalidEntry, Job, Kind

# Deaths of workers over one operation after which the service promises to give it up.
_MOST_DEATHS = 3
_GIVEN_UP = Answer("failure", "internal_error")
_REFUSED = "invalid_request"
_CONFLICT_STATUS = 409
_OK_STATUS = 200
_RECONCILE = "reconcile_"
_REST = "gm_rest"
# These violations are permanent.
_PERMANENT = frozenset({"out of order", "two at once", "unexpected answers"})


@dataclass(slots=True)
class Diagnosis:
    """The violations of each invariant, as sentences."""

    violations: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in INVARIANTS})

    @property
    def is_clean(self) -> bool:
        return not any(self.violations.values())

    @property
    def may_recover(self) -> list[str]:
        """Invariants with violations that can disappear if the service has more time."""
        return [name for name, found in self.violations.items() if found and name not in _PERMANENT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that is evaluated. ``written``: what Game Lobby wrote under each tag."""

    evidence: Evidence
    written: Mapping[int, Job | InvalidEntry]
    call_results: Sequence[CallResult] = ()
    doubles: Mapping[str, str] = field(default_factory=dict)
    most_connections: int = 0

    @property
    def good(self) -> list[Entry]:
        """The valid jobs, in order."""
        return [entry for entry in self.evidence.jobs if isinstance(self.written[entry.tag], Job)]

    @property
    def bad(self) -> list[Entry]:
        """The invalid entries, in order."""
        return [entry for entry in self.evidence.jobs if isinstance(self.written[entry.tag], InvalidEntry)]


def evaluate(case: Case) -> Diagnosis:
    """Check every invariant."""
    verdict = Diagnosis()
    for name, find in INVARIANTS.items():
        verdict.violations[name] += find(case)
    return verdict


def _expected_results(case: Case) -> dict[str, Entry]:
    """Return the job keys that must have a result: all jobs, and invalid entries with a readable game id."""
    readable = [entry for entry in case.bad if " " not in entry.fields.get("game_id", " ")]
    return {entry.job_key: entry for entry in [*case.good, *readable]}


def _missing(case: Case) -> Iterator[str]:
    there = {entry.entry_id: entry for entry in case.evidence.results}
    for key, job in _expected_results(case).items():
        result = there.get(case.evidence.published.get(key, ""))
        if result is None or result.fields["game_id"] != job.fields["game_id"]:
            yield f"no result for {key} of {job.fields['game_id']}"


def _double(case: Case) -> Iterator[str]:
    owners = Counter(case.evidence.published[key] for key in _expected_results(case) if key in case.evidence.published)
    for result in case.evidence.results:
        if owners[result.entry_id] != 1:
            yield f"result {result.entry_id} of {result.fields['game_id']} belongs to {owners[result.entry_id]} jobs"
    tags = Counter(entry.tag for entry in case.evidence.jobs)
    yield from (f"the test itself wrote job {tag} {count} times" for tag, count in tags.items() if count > 1)


def _out_of_order(case: Case) -> Iterator[str]:
    last: dict[str, tuple[int, ...]] = {}
    for job in case.good:
        game_id, position = job.fields["game_id"], case.evidence.published.get(job.job_key)
        if position is None:
            continue
        at = tuple(int(part) for part in position.split("-"))
        if at <= last.get(game_id, (0, 0)):
            yield f"the result of {job.job_key} of {game_id} precedes the result of an earlier job"
        last[game_id] = max(at, last.get(game_id, at))


def _unexpected(case: Case) -> Iterator[str]:
    by_game: defaultdict[str, list[Entry]] = defaultdict(list)
    for job in case.good:
        by_game[job.fields["game_id"]].append(job)
    for game_id, jobs in by_game.items():
        if game_id.startswith(Kind.PLAIN):
            yield from _unexpected_results(case, game_id, jobs)
    for game_id, operations in _operations_by_game(case.evidence).items():
        if game_id.startswith(Kind.CALLED):
            yield from _unexpected_operations(game_id, operations)


def _unexpected_results(case: Case, game_id: str, jobs: Sequence[Entry]) -> Iterator[str]:
    """Use streams only, except for the number of deaths of an operation that was given up."""
    given_up = {one.job_key for one in case.evidence.operations if one.deaths >= _MOST_DEATHS}
    results = [one for one in case.evidence.results if one.fields["game_id"] == game_id]
    answers = [Answer(one.fields["outcome"], one.fields["error_code"]) for one in results]
    game = Game()
    for job, answer in zip(jobs, [one for one in answers if one.code != _REFUSED], strict=False):
        action = Action("start" if "image_ref" in job.fields else "stop", job.fields.get("image_ref", ""))
        yield from _judge_answer(
            game, action, answer, is_given_up=job.job_key in given_up, name=f"{game_id} {job.job_key}"
        )


def _unexpected_operations(game_id: str, operations: Sequence[Operation]) -> Iterator[str]:
    """For games with REST callers, the operations give the order."""
    game = Game()
    for one in operations:
        answer = Answer(one.outcome, one.code)
        if one.kind.startswith(_RECONCILE):
            if answer.code == "":
                game.becomes_unknown()
        elif not (one.source == _REST and answer == UNAVAILABLE):
            name = f"{game_id} operation {one.id}"
            yield from _judge_answer(
                game, Action(one.kind, one.image), answer, is_given_up=one.deaths >= _MOST_DEATHS, name=name
            )


def _judge_answer(game: Game, action: Action, answer: Answer, *, is_given_up: bool, name: str) -> Iterator[str]:
    if is_given_up and answer == _GIVEN_UP:
        game.becomes_unknown()
        return
    before = game.states
    if not game.accepts(action, answer):
        states = ", ".join(sorted(" ".join(state).strip() for state in before))
        yield f"{name}: {' '.join(action).strip()} in state {states} has result {' '.join(answer).strip()}"


def _wrong_calls(case: Case) -> Iterator[str]:
    by_key: defaultdict[str, list[Operation]] = defaultdict(list)
    for one in case.evidence.operations:
        if one.source == _REST:
            by_key[one.source_ref].append(one)
    for call_results in case.call_results:
        done = [one for one in by_key[call_results.call.key] if Answer(one.outcome, one.code) != UNAVAILABLE]
        if not _is_true(call_results, done):
            outcomes = [f"{one.id} {one.outcome} {one.code}" for one in done]
            asked = f"{call_results.call.key} ({call_results.call.verb} {call_results.call.game_id})"
            yield f"{asked}: reported {call_results.status} {call_results.code}, done: {outcomes}"


def _is_true(call_results: CallResult, done: Sequence[Operation]) -> bool:
    if not done:
        return call_results.status == _CONFLICT_STATUS
    if len(done) > 1:
        return False
    if done[0].outcome == "success":
        return call_results.status == _OK_STATUS
    return call_results.code == done[0].code


def _wrong_dead_letters(case: Case) -> Iterator[str]:
    expected = Counter((entry.stream, entry.entry_id) for entry in case.bad)
    found = Counter((one.fields["stream"], one.fields["entry_id"]) for one in case.evidence.dead_letters)
    for stream, entry_id in expected.keys() | found.keys():
        if (count := found[stream, entry_id]) != expected[stream, entry_id]:
            yield f"{stream} {entry_id} has {count} dead letters"


def _record_differs(case: Case) -> Iterator[str]:
    containers = {one.id: one for one in case.evidence.containers}
    for record in case.evidence.records:
        seen = containers.get(record.container_id or "")
        if not _agree(record, seen):
            shown = f"{seen.status} {seen.image}" if seen else "nothing"
            yield f"{record.game_id}: on record {record.status} {record.image}, Docker shows {shown}"


def _agree(record: Record, seen: Container | None) -> bool:
    if record.status == "removed":
        return record.container_id is None
    if seen is None or seen.game_id != record.game_id or seen.image != record.image:
        return False
    return (seen.status == "running") == (record.status == "running")


def _leaked_containers(case: Case) -> Iterator[str]:
    known = {(record.game_id, record.container_id) for record in case.evidence.records}
    for one in case.evidence.containers:
        if (one.game_id, one.id) not in known:
            yield f"{one.id[:12]} of {one.game_id} ({one.status}) belongs to no record"


def _leaked_connections(case: Case) -> Iterator[str]:
    if case.evidence.connections > case.most_connections:
        yield f"{case.evidence.connections} connections to PostgreSQL, expected at most {case.most_connections}"


def _open_operations(case: Case) -> Iterator[str]:
    for one in case.evidence.open_operations:
        yield f"{one.game_id}: operation {one.id} {one.kind} is {one.state}"


def _open_leases(case: Case) -> Iterator[str]:
    for one in case.evidence.operations:
        if one.has_lease:
            yield f"{one.game_id}: operation {one.id} has a lease"


def _operations_by_game(evidence: Evidence) -> Mapping[str, list[Operation]]:
    by_game: defaultdict[str, list[Operation]] = defaultdict(list)
    for one in evidence.operations:
        by_game[one.game_id].append(one)
    return by_game


INVARIANTS: Mapping[str, Callable[[Case], Iterable[str]]] = {
    "missing": _missing,
    "double": _double,
    "out of order": _out_of_order,
    "unexpected answers": _unexpected,
    "wrong REST answers": _wrong_calls,
    "wrong dead letters": _wrong_dead_letters,
    "two at once": lambda case: [f"{game_id}: {seen}" for game_id, seen in case.doubles.items()],
    "record≠Docker": _record_differs,
    "leaked containers": _leaked_containers,
    "leaked connections": _leaked_connections,
    "pending": lambda case: [f"{case.evidence.pending} entries pending"] if case.evidence.pending else [],
    "unread": lambda case: [f"{case.evidence.lag} entries not read"] if case.evidence.lag else [],
    "open operations": _open_operations,
    "open leases": _open_leases,
    "unpublished": lambda case: [f"{case.evidence.unpublished} in the outbox"] if case.evidence.unpublished else [],
}
