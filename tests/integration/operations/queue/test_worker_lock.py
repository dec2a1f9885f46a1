"""Whether a worker lives is decided by its lock: with real sessions, and leases of an hour that never end here."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from operations.models import Operation
from operations.queue import claims, worker_lock
from operations.queue.claims import Claim, LeaseLostError
from operations.queue.worker_lock import DeadWorkers, WorkerLock
from tests.conftest import RtmSettings
from tests.integration.harness import Rig


class Worker:
    """A worker process in a thread: its own session holds its lock, the claims are those of this process."""

    def __init__(self, lock: WorkerLock) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1)
        self.lock = lock

    def hold(self) -> None:
        self._pool.submit(self.lock.hold).result()

    def release(self) -> None:
        """As the heartbeat does when its session is lost."""
        self._pool.submit(self.lock.release).result()

    def session(self) -> int:
        return self._pool.submit(_backend_pid).result()

    def setting(self, name: str) -> str:
        return self._pool.submit(_setting, name).result()

    def die(self) -> None:
        """The server ends the session, as after the end of the process; this returns when the lock is released."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [self.session()])

    def end(self) -> None:
        self.release()
        self._pool.shutdown()


def _backend_pid() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        return str(cursor.fetchone()[0])


@pytest.fixture(autouse=True)
def _long_lease(rtm_settings: RtmSettings) -> None:
    rtm_settings(game_lease_ttl_seconds=3600.0)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """The worker whose claims this test makes."""
    one = Worker(WorkerLock())
    monkeypatch.setattr(claims, "worker_lock", one.lock)
    one.hold()
    yield one
    one.end()


def held(rig: Rig, game_id: str = "g1") -> Claim:
    claim = claims.claim(rig.ask_start(game_id).pk, claimed_by="host-1:4711")
    assert claim is not None
    return claim


def sweep(suspects: DeadWorkers | None = None, *, settle_seconds: float = 0.0) -> DeadWorkers:
    """One pass of the sweeper."""
    missing = suspects.missing_locks if suspects else ()
    return worker_lock.end_leases_of_dead_workers(missing, settle_seconds=settle_seconds)


def test_another_worker_continues_at_once_after_two_passes_without_the_lock(rig: Rig, worker: Worker) -> None:
    first = held(rig)
    worker.die()

    once = sweep()
    again = sweep(once)

    assert (once.operation_ids, again.operation_ids) == ([], [first.operation_id])
    assert again.names == ["host-1:4711"]
    # It was notified a moment ago, but its lease has ended since.
    assert [found for found, _kind in claims.find_unattended(grace_seconds=60)] == [first.operation_id]
    second = claims.claim(first.operation_id, claimed_by="another")
    assert second is not None
    assert second.fence > first.fence
    with pytest.raises(LeaseLostError):
        claims.renew(first, steps=[])


def test_a_worker_that_lives_keeps_its_claims(rig: Rig, worker: Worker) -> None:
    claim = held(rig)

    assert sweep(sweep()) == DeadWorkers()
    assert worker.lock.key == claim.operation.worker_lock
    assert claims.find_unattended(grace_seconds=0) == []


def test_a_worker_that_takes_its_lock_again_between_two_passes_keeps_its_claims(rig: Rig, worker: Worker) -> None:
    claim = held(rig)
    worker.die()
    suspects = sweep()
    worker.release()
    worker.hold()

    again = sweep(suspects)

    assert suspects.missing_locks == {worker.lock.key}
    assert again == DeadWorkers()
    assert Operation.objects.get(pk=claim.operation_id).worker_lock == worker.lock.key


def test_a_worker_takes_its_lock_again_while_the_server_still_keeps_its_old_session(rig: Rig, worker: Worker) -> None:
    claim, key = held(rig), worker.lock.key
    with ThreadPoolExecutor(max_workers=1) as old_session:
        old_session.submit(_take, key).result()
        worker.die()
        assert sweep(sweep()) == DeadWorkers()
        worker.release()
        worker.hold()
        old_session.submit(_close).result()

    assert sweep(sweep()) == DeadWorkers()
    assert claim.operation.worker_lock == key


def _close() -> None:
    connection.close()


def _take(key: int | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [key])


def test_a_young_session_of_the_sweeper_ends_no_lease(rig: Rig, worker: Worker) -> None:
    held(rig)
    worker.die()

    assert sweep(sweep(), settle_seconds=3600.0).operation_ids == []


def test_a_claim_without_a_lock_waits_for_the_end_of_its_lease(rig: Rig, worker: Worker) -> None:
    worker.release()
    claim = held(rig)

    assert (worker.lock.key, claim.operation.worker_lock) == (None, None)
    assert sweep(sweep()) == DeadWorkers()


def test_a_worker_that_was_taken_for_dead_goes_on_if_no_other_has_the_operation(rig: Rig, worker: Worker) -> None:
    claim = held(rig)
    worker.die()
    assert sweep(sweep()).operation_ids == [claim.operation_id]

    claims.renew(claim, steps=[{"name": "create"}])

    # From here on only time ends the lease, or the sweeper and the worker would go on like this for ever.
    assert sweep(sweep()) == DeadWorkers()
    assert claims.claim(claim.operation_id, claimed_by="another") is None


def test_only_the_operations_of_the_dead_worker_are_continued(
    rig: Rig, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_the_dead = held(rig, "g1")
    monkeypatch.setattr(claims, "worker_lock", survivor := WorkerLock())
    other = Worker(survivor)
    other.hold()
    held(rig, "g2")
    worker.die()

    assert sweep(sweep()).operation_ids == [of_the_dead.operation_id]
    other.end()


def test_a_lock_of_the_same_number_with_two_keys_shows_no_life(rig: Rig, worker: Worker) -> None:
    claim, key = held(rig), worker.lock.key
    assert key is not None
    worker.die()
    high, low = key >> 32, key & 0xFFFFFFFF
    with connection.cursor() as cursor:
        # PostgreSQL keeps locks with one key and with two keys apart.
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [high, low - 2**32 if low >= 2**31 else low])
        assert sweep(sweep()).operation_ids == [claim.operation_id]
        cursor.execute("SELECT pg_advisory_unlock_all()")


def test_a_claim_made_between_the_search_and_the_end_of_a_lease_is_left_alone(rig: Rig, worker: Worker) -> None:
    claim = held(rig)
    worker.die()
    suspects = sweep()
    # Another worker without a lock has the operation by now.
    Operation.objects.filter(pk=claim.operation_id).update(worker_lock=None)

    assert sweep(suspects) == DeadWorkers()


def test_no_server_setting_ends_the_session_of_the_lock_for_being_idle(worker: Worker) -> None:
    assert worker.setting("idle_session_timeout") == "0"


def test_two_workers_of_one_process_id_have_different_locks(worker: Worker) -> None:
    other = Worker(WorkerLock())
    other.hold()

    assert other.lock.key != worker.lock.key
    other.end()
