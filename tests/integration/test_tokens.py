"""Tokens: made, checked, rotated and revoked, by the command, over HTTP and in the admin, on a real database."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from structlog.testing import capture_logs

from operations.models import Operation
from runtimes import tokens
from runtimes.models import ApiToken
from runtimes.tokens import TokenError, TokenRefusedError
from tests.conftest import RtmSettings
from tests.integration.rest_rigs import RUNTIMES, start

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
BEARER = re.compile(r"rtm_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


def make(name: str = "gm-main", *, caller: str = "gm", scopes: str = "read operate", **more: Any) -> tokens.IssuedToken:
    return tokens.issue(ApiToken(name=name, caller=caller, scopes=scopes, created_by="test", **more))


def token_command(*arguments: str) -> str:
    said = StringIO()
    call_command("api_token", *arguments, stdout=said)
    return said.getvalue()


def get(client: Client, bearer: str, path: str = RUNTIMES, **headers: str) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {bearer}", **headers})


# The rules


def test_what_is_stored_opens_nothing() -> None:
    issued = make()

    stored = ApiToken.objects.values().get()
    secret = issued.bearer.rpartition("_")[2]
    assert BEARER.fullmatch(issued.bearer)
    assert not [value for value in stored.values() if isinstance(value, str) and secret in value]
    with pytest.raises(TokenRefusedError):
        tokens.check(f"rtm_{issued.token.public_id}_{issued.token.secret_sha256[:43]}", now=AT)


def test_a_token_shown_by_accident_does_not_show_its_secret() -> None:
    issued = make()

    assert issued.bearer not in repr(issued)


def test_two_tokens_share_neither_id_nor_secret() -> None:
    assert len({part for name in "abc" for part in make(name).bearer.split("_", 2)}) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_at": AT}, "expired"),
        ({"expires_at": AT - timedelta(days=1)}, "expired"),
        ({"revoked_at": AT - timedelta(days=1)}, "revoked"),
        ({"revoked_at": AT, "expires_at": AT}, "revoked"),
    ],
)
def test_a_token_that_is_over_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    issued = make(**changes)

    with pytest.raises(TokenRefusedError, match=f"this token is {reason}"):
        tokens.check(issued.bearer, now=AT)


def test_who_does_not_know_the_secret_learns_nothing_of_the_token() -> None:
    revoked = make(revoked_at=AT)
    guessed = [f"rtm_{revoked.token.public_id}_{'x' * 43}", f"rtm_{'0' * 16}_{'x' * 43}"]

    reasons = set()
    for bearer in guessed:
        with pytest.raises(TokenRefusedError) as refused:
            tokens.check(bearer, now=AT)
        reasons.add(str(refused.value))

    assert reasons == {"this token is not known"}


def test_the_last_use_is_recorded_at_most_once_a_minute(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    issued = make()
    tokens.check(issued.bearer, now=AT)

    with django_assert_num_queries(1):
        tokens.check(issued.bearer, now=AT + timedelta(seconds=60))
    with django_assert_num_queries(2):
        tokens.check(issued.bearer, now=AT + timedelta(seconds=61))

    issued.token.refresh_from_db()
    assert issued.token.last_used_at == AT + timedelta(seconds=61)


def test_a_rotated_token_works_until_its_grace_is_over_and_its_successor_at_once() -> None:
    old = make(note="of the live system", scopes="read")

    new = tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=AT)

    assert (new.token.name, new.token.caller, new.token.scopes, new.token.note, new.token.created_by) == (
        "gm-main", "gm", "read", "of the live system", "me",
    )  # fmt: skip
    assert tokens.check(new.bearer, now=AT).pk == new.token.pk
    assert tokens.check(old.bearer, now=AT + timedelta(minutes=59)).pk == old.token.pk
    with pytest.raises(TokenRefusedError, match="expired"):
        tokens.check(old.bearer, now=AT + timedelta(hours=1))


def test_a_rotation_gives_the_same_length_of_life_and_prolongs_nothing() -> None:
    old = make(expires_at=AT + timedelta(minutes=30))
    ApiToken.objects.update(created_at=AT - timedelta(days=90))

    new = tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=AT)

    old.token.refresh_from_db()
    assert old.token.expires_at == AT + timedelta(minutes=30)
    assert new.token.expires_at == AT + timedelta(days=90, minutes=30)


def test_what_was_replaced_or_revoked_cannot_be_rotated() -> None:
    old = make().token
    tokens.rotate(old, grace=timedelta(0), created_by="me", now=AT)
    gone = make("gone", revoked_at=AT).token

    for token in (old, gone):
        with pytest.raises(TokenError, match="already"):
            tokens.rotate(token, grace=timedelta(0), created_by="me", now=AT)

    assert ApiToken.objects.count() == 3


def test_a_name_belongs_to_one_current_token_and_is_free_after_its_end() -> None:
    first = make().token
    with pytest.raises(TokenError, match="already"):
        make()
    with pytest.raises(IntegrityError, match="api_token_one_current_per_name"):
        ApiToken.objects.create(name="gm-main", caller="gm", public_id="x", secret_sha256="x", created_by="x")

    tokens.revoke(tokens.find(first.public_id), now=AT)

    assert make().token.name == "gm-main"


def test_revoking_a_name_ends_what_it_replaced_too() -> None:
    old = make()
    new = tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=AT)
    other = make("other")

    ended = tokens.revoke(tokens.find("gm-main"), now=AT)

    assert ended == 2
    for bearer in (old.bearer, new.bearer):
        with pytest.raises(TokenRefusedError):
            tokens.check(bearer, now=AT)
    assert tokens.check(other.bearer, now=AT)


# Over HTTP


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
    tokens.revoke(ApiToken.objects.all(), now=timezone.now())

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
    new = tokens.rotate(old.token, grace=timedelta(hours=1), created_by="me", now=timezone.now())

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


# The command


def test_the_command_makes_a_token_and_prints_it_once() -> None:
    said = token_command("create", "gm-main", "--caller", "gm", "--scope", "operate", "--scope", "read", "--note", "n")

    token = ApiToken.objects.get()
    (bearer,) = BEARER.findall(said)
    assert tokens.check(bearer, now=AT).pk == token.pk
    assert (token.name, token.caller, token.scopes, token.note, token.expires_at) == (
        "gm-main", "gm", "read operate", "n", None,
    )  # fmt: skip
    assert bearer not in token_command("list") + token_command("list", "--json")


def test_the_command_speaks_json() -> None:
    made = json.loads(
        token_command("create", "a", "--caller", "admin", "--scope", "read", "--expires", "90d", "--json")
    )

    (listed,) = json.loads(token_command("list", "--json"))
    assert BEARER.fullmatch(made.pop("token"))
    assert made == listed
    assert (listed["name"], listed["caller"], listed["scopes"], listed["state"]) == ("a", "admin", "read", "valid")
    assert listed["expires_at"].endswith("Z")


def test_the_list_shows_each_token_on_a_line_of_its_own() -> None:
    make("a")
    make("b", revoked_at=AT)

    head, first, second = token_command("list").splitlines()

    assert head.split() == ["id", "name", "caller", "scopes", "state", "last_used_at", "expires_at"]
    assert (first.split()[1], second.split()[1]) == ("a", "b")
    assert ("valid" in first, "revoked" in second) == (True, True)


@pytest.mark.parametrize("name_it", [lambda token: token.name, lambda token: token.public_id])
def test_the_command_rotates_by_name_and_by_id(name_it: Callable[[ApiToken], str]) -> None:
    old = make()

    said = token_command("rotate", name_it(old.token), "--grace", "0s", "--json")

    with pytest.raises(TokenRefusedError, match="expired"):
        tokens.check(old.bearer, now=timezone.now())
    assert tokens.check(json.loads(said)["token"], now=timezone.now()).name == "gm-main"


def test_a_rotated_name_can_be_rotated_again() -> None:
    make()
    token_command("rotate", "gm-main")
    token_command("rotate", "gm-main")

    assert [token.state_at(timezone.now()) for token in ApiToken.objects.all()] == ["valid"] * 3


def test_the_command_revokes() -> None:
    issued = make()

    said = token_command("revoke", "gm-main")

    assert issued.token.public_id in said
    with pytest.raises(TokenRefusedError, match="revoked"):
        tokens.check(issued.bearer, now=AT)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["create", "a b", "--caller", "gm", "--scope", "read"], "1 to 63 letters"),
        (["create", "x" * 64, "--caller", "gm", "--scope", "read"], "63"),
        (["create", "gm-main", "--caller", "gm", "--scope", "read"], "already"),
        (["create", "b", "--caller", "gm"], "--scope"),
        (["create", "b", "--caller", "lobby", "--scope", "read"], "invalid choice"),
        (["create", "b", "--caller", "gm", "--scope", "all"], "invalid choice"),
        (["create", "b", "--caller", "gm", "--scope", "read", "--expires", "soon"], "not a duration"),
        (["create", "b", "--caller", "gm", "--scope", "read", "--expires", "9999999d"], "longer than 36500d"),
        (["revoke", "nobody"], "no token 'nobody'"),
        (["rotate", "nobody"], "no token 'nobody'"),
        ([], "deed"),
    ],
)
def test_the_command_refuses_what_cannot_be_meant_and_changes_nothing(arguments: list[str], reason: str) -> None:
    make()

    with pytest.raises(CommandError, match=reason):
        token_command(*arguments)

    assert [token.state_at(AT) for token in ApiToken.objects.all()] == ["valid"]


# The admin

LIST = "admin:runtimes_apitoken_changelist"


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss"))
    return client


def test_the_admin_makes_a_token_and_shows_it_once(admin: Client) -> None:
    form = {"name": "gm-main", "caller": "gm", "scopes": "read", "note": ""}

    first = admin.post(reverse("admin:runtimes_apitoken_add"), form, follow=True).content.decode()
    second = admin.get(reverse(LIST)).content.decode()

    (bearer,) = set(BEARER.findall(first))
    token = tokens.check(bearer, now=AT)
    assert (token.name, token.scopes, token.created_by) == ("gm-main", "read", "boss")
    assert bearer not in second


def test_the_admin_refuses_a_name_that_is_in_use(admin: Client) -> None:
    make()

    page = admin.post(
        reverse("admin:runtimes_apitoken_add"), {"name": "gm-main", "caller": "gm", "scopes": "read"}
    ).content.decode()

    assert "A current token has this name" in page
    assert ApiToken.objects.count() == 1


def test_the_admin_shows_all_of_a_token_but_its_digest(admin: Client) -> None:
    token = make(last_used_at=AT).token

    pages = [
        admin.get(reverse(LIST)).content.decode(),
        admin.get(reverse("admin:runtimes_apitoken_change", args=[token.pk])).content.decode(),
    ]

    for page in pages:
        assert token.public_id in page
        assert "2026-11-21 08:30:00" in page
        assert token.secret_sha256 not in page


def test_the_admin_neither_edits_nor_deletes_a_token(admin: Client) -> None:
    token = make().token

    statuses = [
        admin.post(reverse("admin:runtimes_apitoken_change", args=[token.pk]), {"name": "x"}).status_code,
        admin.post(reverse("admin:runtimes_apitoken_delete", args=[token.pk]), {"post": "yes"}).status_code,
    ]

    assert statuses == [403, 403]


def choose(client: Client, action: str, *chosen: ApiToken) -> str:
    form = {"action": action, "_selected_action": [token.pk for token in chosen]}
    return client.post(reverse(LIST), form, follow=True).content.decode()


def test_the_admin_rotates_and_shows_the_new_token_once(admin: Client) -> None:
    old = make()

    page = choose(admin, "rotate", old.token)

    (bearer,) = set(BEARER.findall(page))
    assert tokens.check(bearer, now=timezone.now()).created_by == "boss"
    assert tokens.check(old.bearer, now=timezone.now())
    assert "already" in choose(admin, "rotate", old.token)


def test_the_admin_revokes(admin: Client) -> None:
    issued = make()

    page = choose(admin, "revoke", issued.token)

    assert "Revoked 1 token(s)." in page
    with pytest.raises(TokenRefusedError, match="revoked"):
        tokens.check(issued.bearer, now=AT)


def test_who_may_only_look_at_tokens_can_neither_make_nor_end_one(client: Client) -> None:
    issued = make()
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_apitoken"))
    client.force_login(viewer)

    for action in ("rotate", "revoke"):
        choose(client, action, issued.token)
    made = client.post(reverse("admin:runtimes_apitoken_add"), {"name": "x", "caller": "gm", "scopes": "read"})

    assert made.status_code == 403
    assert [token.state_at(AT) for token in ApiToken.objects.all()] == ["valid"]
