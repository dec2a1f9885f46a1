"""No secret that is recognised by name or format gets into an exit report."""

import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.exit_reports.redaction import (
    REDACTED,
    looks_secret,
    redact_environment,
    redact_json,
    redact_lines,
    redact_text,
)

secrets = st.text(string.ascii_letters + string.digits + "_-", min_size=20, max_size=40).filter(
    lambda text: text[0].isalnum() and text[-1].isalnum()
)
# Too short to be a secret.
SURROUNDING = st.text(string.ascii_lowercase + " .,\n", max_size=15)
SHAPES = [
    "password={}",
    "DB_PASSWORD: {}",
    "the passwd = {}, said the log",
    'config {{"api_key": "{}", "port": 8080}}',
    "config {{'secret': '{}'}}",
    'escaped {{\\"token\\":\\"{}\\"}}',
    "client_secret => {}",
    "key={}",
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "sent bearer {}",
    "GET /turn?access_token={}&turn=3",
    "run --db-password {} --port 80",
    "postgresql://rtm:{}@db:5432/games",
    "redis://:{}@cache/0",
    "https://{}@git.example/engine.git",
    "token eyJhbGciOi.{}.{}",
    "ghp_{}",
    "rtm_0a1b2c3d_{}",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY----- {}",
]
PLAIN = [
    "turn 7: 12 players, 3 fleets moved",
    "tests pass: 10, fail: 0",
    "session 4 of g-42 has ended with code 137",
    "listening on http://0.0.0.0:8080/healthz",
    "monkey business at 08:30:00",
    "java.lang.OutOfMemoryError: Java heap space",
    "cannot open /var/lib/galaxy-game/turn.db: Permission denied",
    "mail to admin@example.com bounced",
]


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=20)
@given(secret=secrets, before=SURROUNDING, after=SURROUNDING)
def test_a_secret_is_replaced_and_the_surrounding_text_stays(shape: str, secret: str, before: str, after: str) -> None:
    redacted = redact_text(f"{before}; {shape.replace('{}', secret).replace('{{', '{').replace('}}', '}')} ;{after}")

    assert secret not in redacted
    assert REDACTED in redacted
    assert redacted.startswith(before)


def test_a_password_with_the_special_characters_of_a_url_is_replaced_completely() -> None:
    assert redact_text("postgresql://rtm:a/b@c@db/games now") == f"postgresql://{REDACTED}@db/games now"


@pytest.mark.parametrize("text", PLAIN)
def test_text_without_a_secret_does_not_change(text: str) -> None:
    assert redact_text(text) == text


@given(st.text(max_size=200))
def test_redaction_is_idempotent(text: str) -> None:
    once = redact_text(text)

    assert redact_text(once) == once


@given(st.lists(st.sampled_from([*SHAPES, *PLAIN, "-----END X-----", "QUJDREVGR0hJSktMTU5P", ""]), max_size=12))
def test_redaction_keeps_the_number_of_lines(lines: list[str]) -> None:
    redacted = redact_lines(lines)

    assert len(redacted) == len(lines)
    assert redact_lines(redacted) == redacted


@given(secrets)
def test_all_lines_of_a_pem_key_are_replaced(secret: str) -> None:
    lines = ["before", "x -----BEGIN EC PRIVATE KEY-----", secret, secret, "-----END EC PRIVATE KEY-----", "after"]

    assert redact_lines(lines) == ["before", *[REDACTED] * 4, "after"]
    assert redact_lines(lines[:4]) == ["before", *[REDACTED] * 3]


def test_a_pem_key_without_its_first_line_is_replaced() -> None:
    lines = ["turn 7", "QUJDREVGR0hJSktMTU5P", "UFFSU1RVVldYWVo=====", "-----END PRIVATE KEY-----", "after"]

    assert redact_lines(lines) == ["turn 7", *[REDACTED] * 3, "after"]


@pytest.mark.parametrize(
    "name",
    ["DB_PASSWORD", "PGPASS", "PASS", "SECRET_KEY", "apiKey", "AWS_SESSION_TOKEN", "credentials", "SENTRY_DSN", "Auth"],
)
def test_only_the_name_of_a_secret_variable_stays(name: str) -> None:
    assert looks_secret(name)
    assert redact_environment([f"{name}=hunter2"]) == [f"{name}={REDACTED}"]


def test_other_variables_stay_except_for_secrets_in_their_values() -> None:
    entries = ["PATH=/usr/bin:/bin", "GAME_STATE_PATH=/var/lib/galaxy-game", "EMPTY_TOKEN=", "BARE", "DB=pg://u:p@h/d"]

    assert redact_environment(entries) == [*entries[:4], f"DB=pg://{REDACTED}@h/d"]


def test_an_inspection_keeps_its_structure() -> None:
    raw = {
        "Config": {
            "Env": ["TOKEN=hunter2", "TZ=UTC"],
            "Cmd": ["engine", "--password", "hunter2", "--port", "80", "--secret=hunter2"],
            "Labels": {"com.example.api_key": "hunter2", "com.galaxy.game_id": "g-42"},
        },
        "State": {"ExitCode": 1, "Health": None, "Error": "password=hunter2"},
        "HostConfig": {"Memory": 7, "Init": True},
    }

    redacted = redact_json(raw)

    assert "hunter2" not in str(redacted)
    assert redacted["Config"]["Env"] == [f"TOKEN={REDACTED}", "TZ=UTC"]
    assert redacted["Config"]["Cmd"] == ["engine", "--password", REDACTED, "--port", "80", f"--secret={REDACTED}"]
    assert redacted["Config"]["Labels"]["com.galaxy.game_id"] == "g-42"
    assert (redacted["State"]["ExitCode"], redacted["HostConfig"]) == (1, raw["HostConfig"])


@pytest.mark.parametrize("bait", ["password", "key", "-", "--password", "eyJ", "a", "://", "-----BEGIN X", '\\"', "="])
def test_redaction_of_any_line_takes_little_processor_time(bait: str) -> None:
    started = time.process_time()

    for _ in range(5):
        redact_text((bait * 4096)[:4096])

    assert time.process_time() - started < 1
