from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from operations.api.dead_letters import EXAMPLE as DEAD_LETTER
from operations.api.serializers import EXAMPLE as OPERATION
from runtimes.api.serializers import EXAMPLE as RUNTIME
from tests.paths import ROOT

EXPORTED = ROOT / "docs" / "openapi.yaml"
OPERATIONS = {
    "internalHealthz": ("get", "/healthz"),
    "internalReadyz": ("get", "/readyz"),
    "internalListRuntimes": ("get", "/api/v1/internal/runtimes"),
    "internalGetRuntime": ("get", "/api/v1/internal/runtimes/{game_id}"),
    "internalStartRuntime": ("post", "/api/v1/internal/runtimes/{game_id}/start"),
    "internalStopRuntime": ("post", "/api/v1/internal/runtimes/{game_id}/stop"),
    "internalRestartRuntime": ("post", "/api/v1/internal/runtimes/{game_id}/restart"),
    "internalPatchRuntime": ("post", "/api/v1/internal/runtimes/{game_id}/patch"),
    "internalCleanupRuntimeContainer": ("delete", "/api/v1/internal/runtimes/{game_id}/container"),
    "internalListOperations": ("get", "/api/v1/internal/runtimes/{game_id}/operations"),
    "internalExplainRuntime": ("get", "/api/v1/internal/runtimes/{game_id}/explain"),
    "internalListAllOperations": ("get", "/api/v1/internal/operations"),
    "internalListEvents": ("get", "/api/v1/internal/events"),
    "internalListDeadLetters": ("get", "/api/v1/internal/dead-letters"),
    "internalGetDeadLetter": ("get", "/api/v1/internal/dead-letters/{dead_letter_id}"),
    "internalRedriveDeadLetter": ("post", "/api/v1/internal/dead-letters/{dead_letter_id}/redrive"),
    "internalRunDoctor": ("get", "/api/v1/internal/doctor"),
    "internalGetRuntimeLogs": ("get", "/api/v1/internal/runtimes/{game_id}/logs"),
    "internalListExitReports": ("get", "/api/v1/internal/runtimes/{game_id}/exit-reports"),
    "internalGetExitReport": ("get", "/api/v1/internal/exit-reports/{report_id}"),
    "internalGetRuntimeStats": ("get", "/api/v1/internal/runtimes/{game_id}/stats"),
    "internalGetOperation": ("get", "/api/v1/internal/operations/{operation_id}"),
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document


def test_the_document_is_valid_and_raises_no_warning(tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("schema") / "openapi.yaml"

    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(target))

    assert target.read_text().startswith("openapi: 3.")


def test_every_endpoint_has_the_operation_id_of_the_contract(schema: dict[str, Any]) -> None:
    found = {
        operation["operationId"]: (method, path)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }

    assert found == OPERATIONS


@pytest.mark.parametrize(
    ("component", "example"), [("RuntimeRecord", RUNTIME), ("Operation", OPERATION), ("DeadLetter", DEAD_LETTER)]
)
def test_every_field_of_a_record_is_always_present(
    schema: dict[str, Any], component: str, example: dict[str, Any]
) -> None:
    described = schema["components"]["schemas"][component]

    assert set(described["required"]) == set(described["properties"]) == set(example)


def test_every_body_is_closed(schema: dict[str, Any]) -> None:
    bodies = {name: body for name, body in schema["components"]["schemas"].items() if name.endswith("Request")}
    paths = schema["paths"]
    restart = paths["/api/v1/internal/runtimes/{game_id}/restart"]["post"]["requestBody"]

    assert set(bodies) == {"StartRequest", "StopRequest", "RestartRequest", "PatchRequest", "RedriveRequest"}
    assert {body["additionalProperties"] for body in bodies.values()} == {False}
    assert restart["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/RestartRequest"}
    assert "required" not in restart
    assert "requestBody" not in paths["/api/v1/internal/runtimes/{game_id}/container"]["delete"]


def test_every_verb_takes_a_preference_and_a_key(schema: dict[str, Any]) -> None:
    for verb in ("start", "stop", "restart", "patch", "container"):
        (operation,) = schema["paths"][f"/api/v1/internal/runtimes/{{game_id}}/{verb}"].values()

        assert {"Prefer", "Idempotency-Key", "X-Galaxy-Caller", "X-Request-ID"} <= {
            parameter["name"] for parameter in operation["parameters"]
        }
        assert "Preference-Applied" in operation["responses"]["202"]["headers"]


def test_every_call_but_the_health_checks_asks_for_a_token(schema: dict[str, Any]) -> None:
    open_to_all = {
        path for path, methods in schema["paths"].items() for one in methods.values() if not one.get("security")
    }

    assert schema["components"]["securitySchemes"]["callerToken"]["scheme"] == "bearer"
    assert open_to_all == {"/healthz", "/readyz"}


def test_the_document_in_the_repository_is_what_the_service_serves(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    target = tmp_path_factory.mktemp("schema") / "openapi.yaml"

    call_command("spectacular", "--file", str(target))

    assert EXPORTED.read_text() == target.read_text(), f"out of date: manage.py spectacular --file {EXPORTED}"


def test_every_error_is_described_as_the_envelope(schema: dict[str, Any]) -> None:
    bodies = {
        response["content"]["application/json"]["schema"]["$ref"]
        for methods in schema["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    }

    assert bodies == {"#/components/schemas/Envelope", "#/components/schemas/NotReady"}


def test_the_documentation_loads_nothing_from_elsewhere() -> None:
    page = Client().get("/api/docs/").content.decode()

    assert "swagger-ui" in page
    assert "https://" not in page
    assert "//cdn" not in page
