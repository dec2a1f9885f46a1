from datetime import UTC, datetime

from runtimes.api.serializers import EXAMPLE, serialize
from runtimes.models import Runtime

CREATED = datetime(2026, 11, 20, 17, 2, 11, tzinfo=UTC)
STARTED = datetime(2026, 11, 21, 8, 30, 0, 125000, tzinfo=UTC)


def test_a_record_shows_the_fields_of_the_contract_with_times_in_utc() -> None:
    runtime = Runtime(**{**EXAMPLE, "created_at": CREATED, "started_at": STARTED, "last_op_at": STARTED})

    assert serialize(runtime) == {
        **EXAMPLE,
        "created_at": "2026-11-20T17:02:11Z",
        "started_at": "2026-11-21T08:30:00.125000Z",
        "last_op_at": "2026-11-21T08:30:00.125000Z",
    }


def test_what_is_not_known_is_null_and_never_left_out() -> None:
    runtime = Runtime(game_id="g", status="removed", last_op_at=STARTED, created_at=CREATED)

    shown = serialize(runtime)

    assert list(shown) == list(EXAMPLE)
    assert [key for key, value in shown.items() if value is None] == [
        "current_container_id", "current_image_ref", "started_at", "stopped_at", "removed_at",
    ]  # fmt: skip
