"""From job streams to accepted operations: read, record, and only then acknowledge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, transaction

from operations import dead_letters, outbox
from operations.claims import sweep
from operations.dispatch import hints
from operations.events import dead_letter_fields, job_result_fields
from operations.finishing import result_key
from operations.intake import OperationRequest, accept
from operations.models import DeadLetter
from operations.outbox import Message
from operations.states import Outcome, Topic
from runtimes.exceptions import ErrorCode, InvalidRequestError
from tasks.leadership import Leadership
from tasks.merging import MergeBuffer
from tasks.messages import job_key, parse_start_job, parse_stop_job, readable_game_id
from tasks.streams.base import JobStreams, StreamEntry

log = structlog.get_logger(__name__)

Parser = Callable[[StreamEntry], OperationRequest]

_BATCH = 50
_BLOCK_MS = 1000
_STANDBY_SECONDS = 1.0
_SWEEP_SECONDS = 2.0
# A hint that reached a worker is claimed within milliseconds; one that was not by now is taken for lost.
_HINT_PATIENCE_SECONDS = 2.0


def job_parsers() -> dict[str, Parser]:
    """The job streams of this installation and how their entries are read."""
    config = settings.RTMANAGER
    return {config.start_jobs_stream: parse_start_job, config.stop_jobs_stream: parse_stop_job}


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that no job could be read from, and why."""

    entry: StreamEntry
    reason: str


class JobBridge:
    """Takes stream entries over as operations, in the order of their ids, exactly once.

    One process does it at a time. An entry is acknowledged after the commit that recorded it, so a crash at any
    point leaves it either pending in Redis, or on record, or both; never in neither.
    """

    name = "bridge"

    def __init__(self, streams: JobStreams, *, parsers: Mapping[str, Parser], leadership: Leadership) -> None:
        self._streams = streams
        self._parsers = parsers
        self._leadership = leadership
        self._buffer = MergeBuffer(streams.names)
        self._must_reload = True

    def step(self) -> float:
        """See Loop."""
        if self._leadership.is_fresh():
            self._must_reload = True
        if not self._leadership.hold():
            return _STANDBY_SECONDS
        if self._must_reload:
            self._reload()
        read, found = self._streams.read_new(count=_BATCH, block_ms=0 if len(self._buffer) else _BLOCK_MS)
        ready = self._buffer.ready(read, count=_BATCH)
        # A leader before us may have been waiting for entries when it lost its leadership. One that came then went to
        # it, after we had asked for everything pending; it cannot record it, and nobody would ask again.
        is_behind = found.ours > len(self._buffer)
        # Of other consumers, who may be at work on theirs, what has lain for a while is taken over by a reload.
        self._must_reload = is_behind or found.of_others > 0
        if not is_behind:
            self._take_over(ready)
        return 0.0

    def reset(self) -> None:
        """See Loop."""
        self._must_reload = True

    def close(self) -> None:
        """See Loop."""
        self._leadership.resign()

    def _reload(self) -> None:
        """Begin from what Redis says: whatever was delivered but not acknowledged comes again."""
        self._streams.ensure_group()
        self._buffer = MergeBuffer(self._streams.names)
        pending = self._streams.pending()
        # What its producer has deleted is not counted as pending by every server, so it is done with first.
        self._take_over([entry for entry in pending if entry.fields is None])
        self._buffer.add(entry for entry in pending if entry.fields is not None)
        self._must_reload = False

    def _take_over(self, entries: Sequence[StreamEntry]) -> None:
        if not entries:
            return
        good, bad = self._parse(entries)
        try:
            self._record(good, bad)
        except (DataError, IntegrityError, InvalidRequestError) as error:
            log.warning("batch_not_recorded", reason=str(error).strip(), entries=len(entries))
            self._record_one_by_one(entries)
        self._streams.acknowledge(entries)
        self._buffer.discard(entries)
        log.info("jobs_accepted", accepted=len(good), dead_letters=len(bad))

    def _parse(self, entries: Sequence[StreamEntry]) -> tuple[list[OperationRequest], list[BadEntry]]:
        good: list[OperationRequest] = []
        bad: list[BadEntry] = []
        for entry in entries:
            if entry.fields is None:
                log.warning("job_lost_by_producer", stream=entry.stream, entry_id=entry.entry_id)
                continue
            try:
                good.append(self._parsers[entry.stream](entry))
            except InvalidRequestError as error:
                log.warning("job_refused", stream=entry.stream, entry_id=entry.entry_id, reason=error.message)
                bad.append(BadEntry(entry, error.message))
        return good, bad

    def _record(self, good: Sequence[OperationRequest], bad: Sequence[BadEntry]) -> None:
        if not bad:
            accept(good)
            return
        with transaction.atomic():
            accept(good)
            dead_letters.keep([_letter(one) for one in bad])
            outbox.queue([message for one in bad for message in _refusal(one)])

    def _record_one_by_one(self, entries: Sequence[StreamEntry]) -> None:
        """One entry that the database refuses must not hold up the others: it becomes a dead letter itself."""
        for entry in entries:
            good, bad = self._parse([entry])
            try:
                self._record(good, bad)
            except (DataError, IntegrityError, InvalidRequestError) as error:
                self._record([], [BadEntry(entry, f"cannot be stored: {str(error).strip()}")])


def _letter(bad: BadEntry) -> DeadLetter:
    told = _told(bad)
    return DeadLetter(
        stream=told["stream"],
        entry_id=told["entry_id"],
        reason=told["reason"],
        fields=told["fields_json"],
        game_id=readable_game_id(bad.entry),
    )


def _told(bad: BadEntry) -> dict[str, str]:
    entry = bad.entry
    return dead_letter_fields(
        stream=entry.stream, entry_id=entry.entry_id, reason=bad.reason, fields=entry.fields or {}
    )  # fmt: skip


def _refusal(bad: BadEntry) -> list[Message]:
    entry, game_id = bad.entry, readable_game_id(bad.entry)
    messages = [Message(Topic.DEAD_LETTERS, f"dead:{job_key(entry)}", game_id, _told(bad))]
    if game_id:
        answer = job_result_fields(
            game_id=game_id,
            outcome=Outcome.FAILURE.value,
            error_code=ErrorCode.INVALID_REQUEST.value,
            error_message=bad.reason,
        )
        messages.append(Message(Topic.JOB_RESULTS, result_key(job_key(entry)), game_id, answer))
    return messages


class Sweeper:
    """Finds accepted work that nobody does and hints it again: lost hints, dead workers, back-offs that are over."""

    name = "sweeper"

    def __init__(self, *, leadership: Leadership) -> None:
        self._leadership = leadership

    def step(self) -> float:
        """See Loop."""
        if self._leadership.hold(asks_next=True):
            found = sweep(patience_seconds=_HINT_PATIENCE_SECONDS)
            if found:
                log.info("operations_hinted_again", operations=len(found))
                hints().send(found)
        return _SWEEP_SECONDS

    def reset(self) -> None:
        """See Loop."""

    def close(self) -> None:
        """See Loop."""
        self._leadership.resign()
