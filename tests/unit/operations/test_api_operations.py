from datetime import UTC, datetime

import pytest

from operations.api.answers import answer
from operations.api.bodies import PatchBody, RestartBody, StartBody, StopBody
from operations.api.records import EXAMPLE, OperationSerializer
from operations.api.verbs import OP_SOURCES
from operations.models import Operation
from operations.states import REST_SOURCES, StopReason
from runtimes.api.errors import HTTP_STATUS
from runtimes.exceptions import ErrorCode

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
FAILURES = [code for code in ErrorCode if code != ErrorCode.REPLAY_NO_OP]


def finished(**fields: object) -> Operation:
    return Operation(id=7, game_id="g", op_kind="start", state="finished", accepted_at=AT, finished_at=AT, **fields)


def test_an_operation_shows_the_fields_of_the_contract_and_its_id_as_text() -> None:
    operation = Operation(id=2**62, game_id="g", op_kind="stop", op_source="gm_rest", accepted_at=AT)

    shown = OperationSerializer(operation).data

    assert list(shown) == list(EXAMPLE)
    assert shown["id"] == "4611686018427387904"
    assert (shown["state"], shown["outcome"], shown["accepted_at"]) == ("accepted", None, "2026-11-21T08:30:00Z")
    assert (shown["started_at"], shown["finished_at"], shown["steps"]) == (None, None, [])


def test_a_step_under_way_shows_what_is_known_of_it() -> None:
    operation = finished(steps=[{"name": "pull", "started_at": "2026-11-21T08:30:00Z"}])

    assert OperationSerializer(operation).data["steps"] == [
        {"name": "pull", "started_at": "2026-11-21T08:30:00Z", "duration_ms": None, "error": ""}
    ]


@pytest.mark.parametrize("code", FAILURES)
def test_a_failed_operation_is_answered_with_the_status_of_its_code(code: ErrorCode) -> None:
    response = answer(finished(outcome="failure", error_code=code, error_message="because"))

    assert response.status_code == HTTP_STATUS[code]
    assert response.data == {"error": {"code": code, "message": "because"}}


@pytest.mark.parametrize("state", ["accepted", "running"])
def test_an_open_operation_is_answered_with_itself_and_where_to_look(state: str) -> None:
    response = answer(Operation(id=7, game_id="g", op_kind="start", state=state, accepted_at=AT))

    assert (response.status_code, response["Location"]) == (202, "/api/v1/internal/operations/7")
    assert int(response["Retry-After"]) > 0
    assert response.data["state"] == state


def test_each_caller_has_its_source() -> None:
    assert set(OP_SOURCES.values()) == REST_SOURCES


def test_a_start_takes_an_image_and_the_wish_not_to_start() -> None:
    body = StartBody(data={"image_ref": "engine:1.0.0", "no_start": True})

    assert body.is_valid()
    assert body.validated_data == {"image_ref": "engine:1.0.0", "no_start": True}


@pytest.mark.parametrize("reason", StopReason.values)
def test_a_stop_takes_each_reason_of_the_contract(reason: str) -> None:
    body = StopBody(data={"reason": reason})

    assert body.is_valid()
    assert body.validated_data == {"reason": reason}


def test_a_patch_takes_an_image_and_nothing_else() -> None:
    assert PatchBody(data={"image_ref": "engine:1.0.1"}).is_valid()
    assert not PatchBody(data={"image_ref": "engine:1.0.1", "no_start": True}).is_valid()


@pytest.mark.parametrize(("data", "is_valid"), [({}, True), ({"force": True}, False), ([], False), (None, False)])
def test_a_restart_takes_nothing(data: object, is_valid: bool) -> None:  # noqa: FBT001
    assert RestartBody(data=data).is_valid() == is_valid
