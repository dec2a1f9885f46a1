"""What must hold after every cell."""

from collections import Counter

from django.conf import settings

from operations.models import DeadLetter, Operation, OutboxEvent
from operations.reconcile import survey
from operations.states import OperationSource, OperationState
from runtimes.container_spec import LABEL_IMAGE_REF
from runtimes.exceptions import ErrorCode
from runtimes.models import HealthSnapshot
from runtimes.states import RuntimeStatus
from tests.chaos.grid.cells import ExpectedState, Kind
from tests.chaos.grid.scenarios import World


def assert_expected_state(world: World, kind: Kind, *, repairs: int = 0) -> None:
    """Assert the expected state of the kind. ``repairs`` operations of reconcile may be on record too."""
    last = _assert_one_row_each(world, kind, repairs=repairs)
    is_rejected = _is_rejected(last)
    _assert_record_is_docker(world, kind.before if is_rejected else kind.after)
    if not is_rejected:
        assert last.error_code == kind.error_code, f"{last.error_code}: {last.error_message}"
    _assert_published(world, kind, is_rejected=is_rejected)
    assert survey.survey() == ([], set()), "record and Docker differ"


def _is_rejected(last: Operation) -> bool:
    """Whether a REST call was rejected at once because Docker did not respond before the first change."""
    is_fast = last.error_code == ErrorCode.DOCKER_UNAVAILABLE and last.attempt == 1
    return is_fast and last.op_source == OperationSource.ADMIN_REST


def _assert_one_row_each(world: World, kind: Kind, *, repairs: int) -> Operation:
    rows = world.operations()
    requested, corrected = rows[: len(rows) - repairs], rows[len(rows) - repairs :]
    assert tuple(row.op_kind for row in requested) == kind.operations, "one log row per request"
    assert all(row.op_source == OperationSource.AUTO_RECONCILE for row in corrected)
    left_open = [row for row in rows if row.state != OperationState.FINISHED or row.lease_until is not None]
    assert not left_open, "an operation is open, or a lease is left"
    record = world.record()
    assert record is None or record.fence in {row.fence for row in rows}, "the fence of the record is unknown"
    return requested[-1]


def _assert_record_is_docker(world: World, wanted: ExpectedState) -> None:
    record, containers = world.record(), world.containers()
    assert (record.status if record else None) == wanted.status
    if record is None or wanted.status == RuntimeStatus.REMOVED:
        assert containers == [], "a container is left"
        return
    (container,) = containers
    image_ref = world.host.images[wanted.image]
    assert container.is_alive == (wanted.status == RuntimeStatus.RUNNING)
    assert record.current_container_id == container.id
    assert (record.current_image_ref, container.labels[LABEL_IMAGE_REF]) == (image_ref, image_ref)
    assert record.image_id == container.image_id


def _assert_published(world: World, kind: Kind, *, is_rejected: bool) -> None:
    config = settings.RTMANAGER
    results = world.on_stream(config.job_results_stream)
    assert tuple(one["error_code"] for one in results) == kind.results, "one result per job, in order"
    health_events = [one["event_type"] for one in world.on_stream(config.health_events_stream)]
    _assert_health_events(health_events, kind, is_rejected=is_rejected)
    assert len(world.on_stream(config.notification_intents_stream)) == kind.intents
    dead_letter_entries = len(world.on_stream(config.dead_letters_stream))
    assert (dead_letter_entries, DeadLetter.objects.count()) == (kind.dead_letters, kind.dead_letters)
    streams = [
        config.job_results_stream, config.health_events_stream, config.notification_intents_stream,
        config.dead_letters_stream,
    ]  # fmt: skip
    entries = sum(len(world.on_stream(stream)) for stream in streams)
    assert entries == OutboxEvent.objects.count(), "an entry for each message, and no other"


def _assert_health_events(health_events: list[str], kind: Kind, *, is_rejected: bool) -> None:
    if is_rejected:
        return
    sure = [one for one in kind.health_events if one not in kind.optional_events]
    assert [one for one in health_events if one not in kind.optional_events] == sure
    assert Counter(health_events) <= Counter(kind.health_events), "reported twice"
    snapshot = HealthSnapshot.objects.first()
    assert (snapshot.event_type if snapshot else None) == (health_events[-1] if health_events else None)
