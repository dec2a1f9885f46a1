"""What must hold after every cell, whatever was broken in it."""

from collections import Counter

from django.conf import settings

from operations import reconciler
from operations.models import DeadLetter, Operation, OutboxEvent
from operations.states import OpSource, OpState
from runtimes.exceptions import ErrorCode
from runtimes.models import HealthSnapshot
from runtimes.specs import LABEL_IMAGE_REF
from runtimes.states import RuntimeStatus
from tests.chaos.grid.cells import Kind, Wanted
from tests.chaos.grid.worlds import World


def assert_as_wanted(world: World, kind: Kind, *, repairs: int = 0) -> None:
    """The world is as the kind wants it. ``repairs`` operations of reconcile may be on record besides."""
    last = _assert_one_row_each(world, kind, repairs=repairs)
    is_refused = _is_refused(last)
    _assert_record_is_docker(world, kind.before if is_refused else kind.after)
    if not is_refused:
        assert last.error_code == kind.error_code, f"{last.error_code}: {last.error_message}"
    _assert_published(world, kind, is_refused=is_refused)
    assert reconciler.survey() == ([], set()), "record and Docker differ"


def _is_refused(last: Operation) -> bool:
    """A REST caller is told at once that Docker is away, as long as nothing has been touched."""
    is_fast = last.error_code == ErrorCode.DOCKER_UNAVAILABLE and last.attempt == 1
    return is_fast and last.op_source == OpSource.ADMIN_REST


def _assert_one_row_each(world: World, kind: Kind, *, repairs: int) -> Operation:
    rows = world.operations()
    asked, mended = rows[: len(rows) - repairs], rows[len(rows) - repairs :]
    assert tuple(one.op_kind for one in asked) == kind.operations, "one row of the log for each that was asked"
    assert all(one.op_source == OpSource.AUTO_RECONCILE for one in mended)
    left_open = [one for one in rows if one.state != OpState.FINISHED or one.lease_until is not None]
    assert not left_open, "an operation is open, or a lease is left"
    record = world.record()
    assert record is None or record.fence in {one.fence for one in rows}, "the record's writer is no owner of its row"
    return asked[-1]


def _assert_record_is_docker(world: World, wanted: Wanted) -> None:
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


def _assert_published(world: World, kind: Kind, *, is_refused: bool) -> None:
    config = settings.RTMANAGER
    results = world.on_stream(config.job_results_stream)
    assert tuple(one["error_code"] for one in results) == kind.answers, "one result per job, in order"
    told = [one["event_type"] for one in world.on_stream(config.health_events_stream)]
    _assert_told(told, kind, is_refused=is_refused)
    assert len(world.on_stream(config.notification_intents_stream)) == kind.intents
    letters = len(world.on_stream(config.dead_letters_stream))
    assert (letters, DeadLetter.objects.count()) == (kind.dead_letters, kind.dead_letters)
    streams = [
        config.job_results_stream, config.health_events_stream, config.notification_intents_stream,
        config.dead_letters_stream,
    ]  # fmt: skip
    entries = sum(len(world.on_stream(stream)) for stream in streams)
    assert entries == OutboxEvent.objects.count(), "an entry for each message, and no other"


def _assert_told(told: list[str], kind: Kind, *, is_refused: bool) -> None:
    if is_refused:
        return
    sure = [one for one in kind.told if one not in kind.may_be_told]
    assert [one for one in told if one not in kind.may_be_told] == sure
    assert Counter(told) <= Counter(kind.told), "told twice"
    snapshot = HealthSnapshot.objects.first()
    assert (snapshot.event_type if snapshot else None) == (told[-1] if told else None)
