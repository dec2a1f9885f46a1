"""Over HTTP, a token decides who asks and what may be asked; without a good one, nothing is answered or done."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from structlog.testing import capture_logs

from operations.models import Operation
from runtimes import api_tokens
from runtimes.models import ApiToken
from tests.conftest import RtmSettings
from tests.integration.rest_harness import RUNTIMES, start
from tests.integration.token_factories import make


def get(client: Client, bearer: str, path: str = RUNTIMES, **headers: str) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {bearer}", **headers})


@pytest.fixture
def guarded(rtm_settings: RtmSettings, worker_at_hand: None) -> None:
    del worker_at_hand
    rtm_settings(api_auth="token")


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic {}",
        "{}",
        "Bearer {}x",
        "Bearer x{}",
        "Bearer {} {}",
        "Bearer {},",
        "Token {}",
    ],
)
def test_without_a_good_token_the_answer_is_unauthorized(client: Client, authorization: str | None) -> None:
    bearer = make().bearer
    headers = {} if authorization is None else {"Authorization": authorization.replace("{}", bearer)}

    response = client.get(RUNTIMES, headers=headers)

    assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_a_good_token_the_call_is_answered(client: Client, scheme: str) -> None:
    response = client.get(RUNTIMES, headers={"Authorization": f"{scheme} {make().bearer}"})

    assert response.status_code == 200
    assert ApiToken.objects.get().last_used_at is not None


@pytest.mark.usefixtures("guarded", "engine")
@pytest.mark.parametrize(("caller", "op_source"), [("gm", "gm_rest"), ("admin", "admin_rest")])
def test_the_token_decides_who_asked_whatever_the_header_claims(client: Client, caller: str, op_source: str) -> None:
    bearer = make(caller=caller).bearer

    response = start(client, Authorization=f"Bearer {bearer}", X_Galaxy_Caller="gm" if caller == "admin" else "admin")

    assert (response.status_code, Operation.objects.get().op_source) == (200, op_source)


@pytest.mark.usefixtures("guarded", "engine")
def test_a_token_that_may_only_read_has_nothing_done(client: Client) -> None:
    bearer = make(scopes="read").bearer

    response = start(client, Authorization=f"Bearer {bearer}")

    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
    assert "'operate'" in response.json()["error"]["message"]
    assert get(client, bearer).status_code == 200
    assert not Operation.objects.exists()


@pytest.mark.usefixtures("guarded", "engine")
def test_a_token_that_may_only_operate_reads_nothing(client: Client) -> None:
    bearer = make(scopes="operate").bearer

    response = get(client, bearer)

    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
    assert "'read'" in response.json()["error"]["message"]
    assert start(client, Authorization=f"Bearer {bearer}").status_code == 200


@pytest.mark.usefixtures("guarded", "engine")
def test_a_revoked_token_is_refused_and_nothing_is_done(client: Client) -> None:
    issued = make()
    api_tokens.revoke(ApiToken.objects.all(), now=timezone.now())

    response = start(client, Authorization=f"Bearer {issued.bearer}")

    assert (response.status_code, response.json()["error"]["message"]) == (401, "this token is revoked")
    assert not Operation.objects.exists()


@pytest.mark.usefixtures("guarded", "engine")
def test_a_request_refused_for_its_token_does_not_burn_its_idempotency_key(client: Client) -> None:
    refused = start(client, Authorization="Bearer guess", Idempotency_Key="k-1")

    response = start(client, Authorization=f"Bearer {make().bearer}", Idempotency_Key="k-1")

    assert (refused.status_code, response.status_code) == (401, 200)
    assert "Idempotent-Replayed" not in response


@pytest.mark.usefixtures("guarded", "engine")
def test_a_rotated_token_meets_the_keys_of_its_predecessor(client: Client) -> None:
    old = make()
    start(client, Authorization=f"Bearer {old.bearer}", Idempotency_Key="k-1")
    new = api_tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=timezone.now())

    response = start(client, Authorization=f"Bearer {new.bearer}", Idempotency_Key="k-1")

    assert response["Idempotent-Replayed"] == "true"


@pytest.mark.usefixtures("guarded")
def test_the_log_names_the_token_and_never_holds_its_secret(client: Client) -> None:
    issued = make()
    secret = issued.bearer.rpartition("_")[2]

    with capture_logs() as logs:
        get(client, issued.bearer)
        get(client, f"rtm_{issued.token.public_id}_{'x' * 43}")

    assert [entry["token"] for entry in logs if entry["event"] == "api_token_refused"] == [issued.token.public_id]
    assert secret not in repr(logs)
