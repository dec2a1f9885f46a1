from datetime import UTC, datetime

import pytest

from operations.api.actions import OP_SOURCES
from operations.api.completion import outcome_response
from operations.api.serializers import EXAMPLE, OperationSerializer, PatchBody, RestartBody, StartBody, StopBody
from operations.models import Operation
from operations.states import REST_SOURCES, StopReason
from runtimes.api.base.exceptions import HTTP_STATUS
from runtimes.exceptions import ErrorCode

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
FAILURES = [code for code in ErrorCode if code != ErrorCode.REPLAY_NO_OP]


def finished(**fields: object) -> Operation:
    return Operation(id=7, game_id="g", op_kind="start", state="finished", accepted_at=AT, finished_at=AT, **fields)


def test_an_operation_has_the_fields_of_the_contract_and_its_id_as_text() -> None:
    operation = Operation(id=2**62, game_id="g", op_kind="stop", op_source="gm_rest", accepted_at=AT)

    shown = OperationSerializer(operation).data

    assert list(shown) == list(EXAMPLE)
    assert shown["id"] == "4611686018427387904"
    assert (shown["state"], shown["outcome"], shown["accepted_at"]) == ("accepted", None, "2026-11-21T08:30:00Z")
    assert (shown["started_at"], shown["finished_at"], shown["steps"]) == (None, None, [])


def test_a_running_step_has_no_duration_and_no_error() -> None:
    operation = finished(steps=[{"name": "pull", "started_at": "2026-11-21T08:30:00Z"}])

    assert OperationSerializer(operation).data["steps"] == [
        {"name": "pull", "started_at": "2026-11-21T08:30:00Z", "duration_ms": None, "error": ""}
    ]


@pytest.mark.parametrize("code", FAILURES)
def test_the_response_of_a_failed_operation_has_the_status_of_its_code(code: ErrorCode) -> None:
    response = outcome_response(finished(outcome="failure", error_code=code, error_message="because"))

    assert response.status_code == HTTP_STATUS[code]
    assert response.data == {"error": {"code": code, "message": "because"}}


@pytest.mark.parametrize("state", ["accepted", "running"])
def test_the_response_of_an_open_operation_is_202_with_its_location(state: str) -> None:
    response = outcome_response(Operation(id=7, game_id="g", op_kind="start", state=state, accepted_at=AT))

    assert (response.status_code, response["Location"]) == (202, "/api/v1/internal/operations/7")
    assert int(response["Retry-After"]) > 0
    assert response.data["state"] == state


def test_each_caller_has_its_source() -> None:
    assert set(OP_SOURCES.values()) == REST_SOURCES


def test_a_start_accepts_an_image_and_no_start() -> None:
    body = StartBody(data={"image_ref": "engine:1.0.0", "no_start": True})

    assert body.is_valid()
    assert body.validated_data == {"image_ref": "engine:1.0.0", "no_start": True}


@pytest.mark.parametrize("reason", StopReason.values)
def test_a_stop_accepts_each_reason_of_the_contract(reason: str) -> None:
    body = StopBody(data={"reason": reason})

    assert body.is_valid()
    assert body.validated_data == {"reason": reason}


def test_a_patch_accepts_only_an_image() -> None:
    assert PatchBody(data={"image_ref": "engine:1.0.1"}).is_valid()
    assert not PatchBody(data={"image_ref": "engine:1.0.1", "no_start": True}).is_valid()


@pytest.mark.parametrize(("data", "is_valid"), [({}, True), ({"force": True}, False), ([], False), (None, False)])
def test_a_restart_accepts_an_empty_body(data: object, is_valid: bool) -> None:  # noqa: FBT001
    assert RestartBody(data=data).is_valid() == is_valid
