"""After a restore each job is done once: before the restore or after it. Real database, streams in memory."""

import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from operations.execution.completion import result_key
from operations.messages import job_parsers, job_result_fields
from operations.models import DeadLetter, Operation, OutboxEvent
from operations.states import OperationKind, OperationSource, OperationState, Outcome, Topic
from tasks import restored_jobs
from tasks.loops.bridge import JobBridge
from tasks.loops.leader_election import LeaderElection
from tasks.loops.relay import event_streams
from tasks.restored_jobs import Recovery
from tasks.streams.base import Publication, StreamRefusedError, StreamsUnavailableError
from tasks.streams.fake import FakeEventStreams, FakeJobStreams, FakeStreamServer
from tests.integration.harness import IMAGE, Rig

START, STOP = "runtime:start_jobs", "runtime:stop_jobs"
RESULTS = "runtime:job_results"
CONTAINER = "c" * 64


class Site:
    """A Redis that survived the restore, and the bridge of the restored installation."""

    def __init__(self) -> None:
        self.server = FakeStreamServer()
        self.events = FakeEventStreams(self.server)
        # Ids of the fake are small numbers, so they would be entries of 1970: too old for Redis to know their results.
        self._first = time.time_ns() // 1_000_000
        self._numbers = iter(range(1, 1000))

    def jobs(self, reader: str = "restored") -> FakeJobStreams:
        return FakeJobStreams(self.server, names=list(job_parsers()), reader=reader)

    def job(self, game_id: str, *, stream: str = START, **changes: str) -> str:
        """Write a job that was taken by the lost database; returns its entry id."""
        fields = {"image_ref": IMAGE} if stream == START else {"reason": "cancelled"}
        entry_id = f"{self._first + next(self._numbers)}-0"
        self.server.streams[stream][entry_id] = {
            "game_id": game_id, "requested_at_ms": "1790000000000", **fields, **changes,
        }  # fmt: skip
        self.server.delivered[stream] = entry_id
        return entry_id

    def result(self, job_key: str, game_id: str, **values: str) -> None:
        """Publish the result of a job before the restore."""
        fields = job_result_fields(game_id=game_id, **{"outcome": "success", **values})
        self.events.publish_once([Publication(RESULTS, result_key(job_key), fields)])

    def recover(self) -> Recovery:
        return restored_jobs.recover(self.jobs(), self.events, parsers=job_parsers(), event_streams=event_streams())

    def bridge(self) -> None:
        """One pass of the bridge."""
        bridge = JobBridge(self.jobs(), parsers=job_parsers(), leadership=LeaderElection("test-bridge"))
        bridge.step()


@pytest.fixture
def site(rig: Rig) -> Site:
    del rig
    return Site()


def only() -> Operation:
    return Operation.objects.get()


def test_a_job_done_after_the_backup_is_on_record_again_and_is_not_done_again(site: Site) -> None:
    entry_id = site.job("g1")
    site.result(f"{START}:{entry_id}", "g1", container_id=CONTAINER, engine_endpoint="http://galaxy-game-g1:8080")

    recovery = site.recover()
    site.bridge()

    assert (recovery.recorded, recovery.delivered_again) == (1, 0)
    operation = only()
    assert (operation.state, operation.outcome, operation.container_id) == ("finished", "success", CONTAINER)
    assert (operation.op_kind, operation.image_ref, operation.source_ref) == ("start", IMAGE, entry_id)
    assert not OutboxEvent.objects.exists()


def test_a_job_taken_after_the_backup_without_a_result_is_done_after_the_restore(site: Site) -> None:
    site.job("g1")
    done = site.job("g2")
    site.result(f"{START}:{done}", "g2")
    site.job("g1", stream=STOP)

    recovery = site.recover()
    site.bridge()

    assert (recovery.recorded, recovery.delivered_again) == (1, 2)
    open_jobs = Operation.objects.filter(state=OperationState.ACCEPTED).order_by("id")
    assert list(open_jobs.values_list("game_id", "op_kind")) == [("g1", "start"), ("g1", "stop")]


def test_a_job_on_record_in_the_backup_is_neither_recorded_nor_read_again(site: Site) -> None:
    site.job("g1")
    site.server.delivered[START] = "0-0"
    site.bridge()

    recovery = site.recover()
    site.bridge()

    assert (recovery.recorded, recovery.delivered_again) == (0, 0)
    assert [operation.game_id for operation in recovery.to_do] == ["g1"]
    assert only().state == OperationState.ACCEPTED


def test_an_open_job_whose_result_was_published_is_finished_with_it(site: Site, rig: Rig) -> None:
    waiting = rig.ask_start()
    site.result(waiting.job_key, "g1", outcome="failure", error_code="image_pull_failed", error_message="no such image")

    recovery = site.recover()

    assert [operation.pk for operation in recovery.finished] == [waiting.pk]
    waiting.refresh_from_db()
    assert (waiting.state, waiting.outcome, waiting.error_code) == ("finished", "failure", "image_pull_failed")
    assert rig.do(waiting).attempt == 0
    assert rig.container() is None


def test_an_open_job_whose_result_is_trimmed_is_finished_without_being_done(site: Site, rig: Rig) -> None:
    waiting = rig.ask_start()
    # The backup was made between the creation of the container and the result.
    Operation.objects.update(container_id="c" * 64)
    site.result(waiting.job_key, "g1")
    site.server.delete(RESULTS, *list(site.server.streams[RESULTS]))

    site.recover()

    waiting.refresh_from_db()
    # With the id, the container of a failed operation would be removed, although its game runs.
    assert (waiting.outcome, waiting.error_code, waiting.container_id) == ("failure", "internal_error", "")
    assert "outcome unknown" in waiting.error_message
    assert rig.container() is None


def test_an_open_job_older_than_the_memory_of_redis_counts_as_done(site: Site, rig: Rig) -> None:
    waiting = rig.ask_start()
    Operation.objects.update(accepted_at=Now() - timedelta(days=8))

    assert [operation.pk for operation in site.recover().finished] == [waiting.pk]


@pytest.mark.parametrize("source", [OperationSource.GM_REST, OperationSource.ADMIN_CONSOLE, OperationSource.AUTO_TTL])
def test_an_open_operation_of_another_source_fails_and_is_not_done(
    site: Site, rig: Rig, source: OperationSource
) -> None:
    waiting = rig.ask(OperationKind.STOP, source=source, reason="cancelled")

    recovery = site.recover()

    assert [operation.pk for operation in recovery.failed] == [waiting.pk]
    waiting.refresh_from_db()
    assert (waiting.outcome, waiting.error_code) == (Outcome.FAILURE, "service_unavailable")
    assert "repeat the request" in waiting.error_message


def test_a_dead_letter_of_the_lost_time_is_kept_again(site: Site) -> None:
    entry_id = site.job("g1", stream=STOP, reason="boredom")
    site.result(f"{STOP}:{entry_id}", "g1", outcome="failure", error_code="invalid_request")

    site.recover()
    site.bridge()

    assert [kept.entry_id for kept in DeadLetter.objects.all()] == [entry_id]
    assert not Operation.objects.exists()


def test_everything_is_found_in_redis_if_the_database_is_empty(site: Site) -> None:
    jobs = [site.job(f"g{number}") for number in range(450)]
    for entry_id in jobs[:440]:
        site.result(f"{START}:{entry_id}", "g")

    recovery = site.recover()

    assert (recovery.recorded, recovery.delivered_again) == (440, 10)


def test_messages_that_a_restored_redis_has_lost_are_published_again(site: Site) -> None:
    old = {"topic": Topic.JOB_RESULTS, "fields": {}, "published_at": Now() - timedelta(days=3)}
    site.server.add(RESULTS, {})
    OutboxEvent.objects.create(dedupe_key="kept", stream_entry_id="1-0", **old)
    OutboxEvent.objects.create(dedupe_key="lost", stream_entry_id="2-0", **old)

    assert site.recover().published_again == 1
    assert OutboxEvent.objects.get(published_at__isnull=True).dedupe_key == "lost"


def test_the_former_installation_is_refused_afterwards(site: Site) -> None:
    former = site.jobs(reader="former")
    former.ensure_group()

    site.recover()

    with pytest.raises(StreamRefusedError):
        former.read_new(count=1, block_ms=0)


def test_nothing_changes_if_redis_fails_and_a_second_run_does_everything(site: Site, rig: Rig) -> None:
    site.job("g1")
    rig.ask(OperationKind.STOP, "g2", source=OperationSource.GM_REST, reason="cancelled")
    site.server.is_unavailable = True
    with pytest.raises(StreamsUnavailableError):
        site.recover()
    assert only().state == OperationState.ACCEPTED
    site.server.is_unavailable = False

    first, second = site.recover(), site.recover()

    assert (first.delivered_again, len(first.failed)) == (1, 1)
    assert (second.delivered_again, len(second.failed), second.recorded) == (0, 0, 0)
