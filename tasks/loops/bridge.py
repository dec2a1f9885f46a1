"""The bridge: reads job streams, records operations in one transaction, and then acknowledges the entries."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import structlog
from django.db import DatabaseError, transaction

from operations import outbox
from operations.dead_letters import store
from operations.execution.completion import result_key
from operations.intake import OperationRequest, accept
from operations.messages import Parser, StreamEntry, dead_letter_fields, game_id_or_empty, job_key, job_result_fields
from operations.models import DeadLetter
from operations.outbox import Message
from operations.states import Outcome, Topic
from runtimes.exceptions import ErrorCode, InvalidRequestError
from tasks.loops.base import Loop
from tasks.loops.leader_election import LeaderElection
from tasks.loops.merge_buffer import MergeBuffer
from tasks.streams.base import JobStreams, ReadResult

log = structlog.get_logger(__name__)

_BATCH = 50
_BLOCK_MS = 1000
# Classes of SQLSTATE: feature not supported, cardinality, data exception, integrity constraint, check option, program
# limit exceeded, error raised by a trigger.
_ABOUT_DATA = frozenset({"0A", "21", "22", "23", "44", "54", "P0"})


class InvalidEntry(NamedTuple):
    """An entry that holds no valid job, and why."""

    entry: StreamEntry
    reason: str


class JobBridge(Loop):
    """Accepts stream entries as operations, in the order in which they were written, exactly once.

    One process does this at a time. It acknowledges an entry after the commit that recorded it. So after a crash at
    any point, the entry is still pending in Redis, or recorded, or both.
    """

    name = "bridge"

    def __init__(
        self, streams: JobStreams, *, parsers: Mapping[str, Parser], leadership: LeaderElection | None = None
    ) -> None:
        super().__init__(leadership)
        self._streams = streams
        self._parsers = parsers
        self._buffer = MergeBuffer(streams.names)
        self._must_reload = True
        self._ahead_of_clock: set[str] = set()

    def lead(self) -> float:
        if self._must_reload:
            self._reload_pending()
        read = self._streams.read_new(count=_BATCH, block_ms=0 if len(self._buffer) else _BLOCK_MS)
        ready = self._buffer.ready(read.entries, count=_BATCH, now_ms=read.now_ms)
        # The previous leader may have received an entry in a blocked read, after our reload. It cannot record the
        # entry without its leadership, and Redis does not deliver it again. The pending count reveals it.
        is_behind = read.pending > len(self._buffer)
        # Other consumers may still work on their entries; a reload claims those that are stale.
        self._must_reload = is_behind or read.pending_of_others > 0
        if not is_behind:
            undecided = self._buffer.undecided(ready)
            self._accept(ready)
            for start, stop in undecided:
                game_id = game_id_or_empty(start)
                log.warning("job_order_unknown", game_id=game_id, first=start.entry_id, second=stop.entry_id)
        self._compare_with_clock(read)
        return 0.0

    def reset(self) -> None:
        self._must_reload = True

    def _reload_pending(self) -> None:
        """Start from the state of Redis: everything delivered but not acknowledged."""
        self._streams.ensure_group()
        self._buffer = MergeBuffer(self._streams.names)
        pending = self._streams.pending()
        # Some servers do not count deleted entries as pending, so acknowledge those first.
        self._accept([entry for entry in pending if entry.fields is None])
        self._buffer.add_pending(entry for entry in pending if entry.fields is not None)
        self._must_reload = False

    def _compare_with_clock(self, read: ReadResult) -> None:
        """Log when the ids of a stream begin or cease to be ahead of Redis' clock."""
        for newest in {entry.stream: entry for entry in read.entries}.values():
            ahead_ms = newest.order[0] - read.now_ms
            if ahead_ms > 0 and newest.stream not in self._ahead_of_clock:
                self._ahead_of_clock.add(newest.stream)
                log.warning(
                    "entry_ids_ahead_of_clock", stream=newest.stream, entry_id=newest.entry_id, ahead_ms=ahead_ms
                )
            elif ahead_ms <= 0 and newest.stream in self._ahead_of_clock:
                self._ahead_of_clock.remove(newest.stream)
                log.info("entry_ids_follow_clock", stream=newest.stream, entry_id=newest.entry_id)

    def _accept(self, entries: Sequence[StreamEntry]) -> None:
        if not entries:
            return
        requests, invalid = self._parse(entries)
        try:
            self._record(requests, invalid)
        except (DatabaseError, ValueError, InvalidRequestError) as error:
            _raise_unless_about_data(error)
            log.warning("batch_not_recorded", reason=str(error).strip(), entries=len(entries))
            self._record_one_by_one(entries)
        self._streams.acknowledge(entries)
        self._buffer.discard(entries)
        log.info("jobs_accepted", accepted=len(requests), dead_letters=len(invalid))

    def _parse(self, entries: Sequence[StreamEntry]) -> tuple[list[OperationRequest], list[InvalidEntry]]:
        requests: list[OperationRequest] = []
        invalid: list[InvalidEntry] = []
        for entry in entries:
            if entry.fields is None:
                log.warning("job_lost_by_producer", stream=entry.stream, entry_id=entry.entry_id)
                continue
            try:
                requests.append(self._parsers[entry.stream](entry))
            except InvalidRequestError as error:
                log.warning("job_refused", stream=entry.stream, entry_id=entry.entry_id, reason=error.message)
                invalid.append(InvalidEntry(entry, error.message))
        return requests, invalid

    def _record(self, requests: Sequence[OperationRequest], invalid: Sequence[InvalidEntry]) -> None:
        if not invalid:
            accept(requests)
            return
        with transaction.atomic():
            accept(requests)
            _reject(invalid)

    def _record_one_by_one(self, entries: Sequence[StreamEntry]) -> None:
        """Record each entry alone. An entry that the database rejects becomes a dead letter and blocks no other."""
        for entry in entries:
            requests, invalid = self._parse([entry])
            try:
                self._record(requests, invalid)
            except (DatabaseError, ValueError, InvalidRequestError) as error:
                _raise_unless_about_data(error)
                self._record([], [InvalidEntry(entry, f"cannot be stored: {str(error).strip()}")])


def _raise_unless_about_data(error: Exception) -> None:
    """Raise database errors that another try may not meet: a lost server, a lock, a missing table or privilege.

    All others would return at each try, so the entry cannot be stored.
    """
    state = getattr(error.__cause__, "pgcode", None) or ""
    if isinstance(error, DatabaseError) and state[:2] not in _ABOUT_DATA:
        raise error


def _reject(invalid: Sequence[InvalidEntry]) -> None:
    """Keep the entries as dead letters, and queue the messages about them, in the transaction of the caller."""
    dead_letters: list[DeadLetter] = []
    messages: list[Message] = []
    for entry, reason in invalid:
        key, game_id = job_key(entry), game_id_or_empty(entry)
        fields = dead_letter_fields(
            stream=entry.stream, entry_id=entry.entry_id, reason=reason, fields=entry.fields or {}
        )
        sent = fields["fields_json"]
        dead_letters.append(
            DeadLetter(stream=entry.stream, entry_id=entry.entry_id, reason=reason, fields=sent, game_id=game_id)
        )
        messages.append(Message(Topic.DEAD_LETTERS, f"dead:{key}", game_id, fields))
        if game_id:
            result = job_result_fields(
                game_id=game_id,
                outcome=Outcome.FAILURE,
                error_code=ErrorCode.INVALID_REQUEST.value,
                error_message=reason,
            )
            messages.append(Message(Topic.JOB_RESULTS, result_key(key), game_id, result))
    store.keep(dead_letters)
    outbox.queue(messages)
