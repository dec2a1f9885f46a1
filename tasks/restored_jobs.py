"""After a restore of the database: find in Redis which jobs were done, and let the bridge read the others again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from operations import messages
from operations.execution.completion import result_key
from operations.installation import restored_jobs
from operations.installation.restored_jobs import Done
from operations.messages import Parser, StreamEntry
from operations.models import Operation
from operations.queue.database import database_now
from operations.states import Topic
from runtimes.exceptions import InvalidRequestError
from runtimes.formatting import from_unix_ms
from tasks.streams.base import EventStreams, JobStreams

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found: open operations that are finished now, that failed, and that will be done.

    ``recorded`` jobs were done after the backup. ``delivered_again``: the number of jobs that were taken after the
    backup and have no result; the bridge reads them again. ``published_again``: messages that Redis has lost.
    """

    finished: Sequence[Operation]
    failed: Sequence[Operation]
    to_do: Sequence[Operation]
    recorded: int
    delivered_again: int
    published_again: int


@transaction.atomic
def recover(
    jobs: JobStreams, events: EventStreams, *, parsers: Mapping[str, Parser], event_streams: Mapping[str, str]
) -> Recovery:
    """Bring the jobs of the database and of Redis together, and make the job streams ours. Idempotent.

    RTM must be stopped. Raises StreamsUnavailableError, with nothing changed in the database.
    """
    results = _Results(events, event_streams[Topic.JOB_RESULTS])
    finished, to_do = _close_open_jobs(results)
    failed = restored_jobs.fail_other_operations()
    recorded = delivered_again = 0
    for stream in jobs.names:
        known = restored_jobs.last_recorded(stream)
        taken = jobs.delivered_after(stream, known)
        done = list(_done(taken, results, parse=parsers[stream]))
        restored_jobs.record(done)
        recorded, delivered_again = recorded + len(done), delivered_again + len(taken) - len(done)
        # Inside the transaction: if Redis refuses, nothing counts as recorded, and the command can be repeated.
        jobs.deliver_again(stream, known)
    published_again = sum(
        restored_jobs.publish_lost(Topic(topic), last_entry_id=events.last_entry_id(stream))
        for topic, stream in event_streams.items()
    )
    jobs.take_over()
    return Recovery(finished, failed, to_do, recorded, delivered_again, published_again)


class _Results:
    """The published results of jobs. A job that is too old for Redis to know its result counts as done."""

    def __init__(self, events: EventStreams, stream: str) -> None:
        self._events = events
        self._stream = stream
        self._now = database_now()

    def of(self, jobs: Mapping[str, datetime]) -> dict[str, Mapping[str, str] | None]:
        """Job key → published result, for the jobs that were done. ``jobs``: job key → when it was requested."""
        published = self._events.published(self._stream, [result_key(key) for key in jobs])
        return {
            key: published.get(result_key(key))
            for key, at in jobs.items()
            if result_key(key) in published or restored_jobs.is_forgotten_by_redis(at, now=self._now)
        }


def _close_open_jobs(results: _Results) -> tuple[list[Operation], list[Operation]]:
    """Finish the open jobs whose result was published; return them, and those that must still be done."""
    open_jobs = restored_jobs.open_jobs()
    known = results.of({operation.job_key: operation.accepted_at for operation in open_jobs})
    finished = [operation for operation in open_jobs if operation.job_key in known]
    for operation in finished:
        restored_jobs.finish(operation, known[operation.job_key])
    return finished, [operation for operation in open_jobs if operation not in finished]


def _done(entries: Sequence[StreamEntry], results: _Results, *, parse: Parser) -> Iterator[Done]:
    for start in range(0, len(entries), _PAGE):
        page = {messages.job_key(entry): entry for entry in entries[start : start + _PAGE]}
        times = {key: from_unix_ms(entry.order[0]) for key, entry in page.items()}
        for key, result in results.of(times).items():
            try:
                yield Done(parse(page[key]), times[key], result)
            except InvalidRequestError:
                # A dead letter: the bridge records it again, and the relay finds that it was published.
                continue
