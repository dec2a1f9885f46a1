"""The read commands of ``rtm`` over HTTP, on the fake Docker, with a worker that runs operations at once."""

import json

import pytest
from pytest_django.live_server_helper import LiveServer

from operations.models import DeadLetter, Operation
from runtimes.api_tokens import issue
from runtimes.containers.fake.adapter import FakeDocker
from runtimes.models import ApiToken
from tests.conftest import RtmSettings
from tests.integration.cli_harness import Terminal
from tests.integration.rest_harness import IMAGE, NEXT_PATCH

pytestmark = pytest.mark.usefixtures("trusted_network", "engine")


@pytest.fixture
def rtm(live_server: LiveServer) -> Terminal:
    return Terminal(live_server.url)


@pytest.fixture
def dead_letter() -> DeadLetter:
    return DeadLetter.objects.create(
        stream="runtime:stop_jobs",
        entry_id="1-0",
        reason="reason 'boredom' is unknown",
        fields=json.dumps({"game_id": "g-1", "reason": "boredom", "requested_at_ms": "1700000000000"}),
        game_id="g-1",
    )


def start_two(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)
    rtm("start", "g-2", NEXT_PATCH)
    rtm("stop", "g-2")


def test_the_list_shows_the_games_with_the_requested_columns(rtm: Terminal) -> None:
    start_two(rtm)

    done = rtm("list", "--columns", "game,status,image")

    assert [line.split() for line in done.stdout.splitlines()] == [
        ["GAME", "STATUS", "IMAGE"],
        ["g-1", "running", IMAGE],
        ["g-2", "stopped", NEXT_PATCH],
    ]


@pytest.mark.parametrize(
    ("options", "games"),
    [
        ((), ["g-1", "g-2"]),
        (("--status", "stopped"), ["g-2"]),
        (("--image", "1.0.1"), ["g-2"]),
        (("--limit", "1"), ["g-1"]),
    ],
)
def test_the_list_is_filtered(rtm: Terminal, options: tuple[str, ...], games: list[str]) -> None:
    start_two(rtm)

    listed = rtm.json("list", *options)

    assert [record["game_id"] for record in listed["items"]] == games


def test_an_empty_list_prints_a_sentence(rtm: Terminal) -> None:
    done = rtm("list")

    assert (done.exit_code, done.stdout) == (0, "No matching games are on record.\n")


def test_an_unknown_column_is_a_usage_error(rtm: Terminal) -> None:
    done = rtm("list", "--columns", "game,colour")

    assert done.exit_code == 2
    assert "colour" in done.stderr


def test_json_shows_a_record_as_the_api_does(rtm: Terminal) -> None:
    start_two(rtm)

    record = rtm.json("show", "g-2")

    assert (record["game_id"], record["status"], record["current_image_ref"]) == ("g-2", "stopped", NEXT_PATCH)


def test_an_unknown_game_is_not_found(rtm: Terminal) -> None:
    done = rtm("show", "g-9")

    assert done.exit_code == 3
    assert "game g-9 has no runtime record" in done.stderr


@pytest.mark.parametrize("game", ["../readyz", "a/b", "", "x" * 52, "g?limit=1"])
def test_an_invalid_game_id_is_a_usage_error(rtm: Terminal, game: str) -> None:
    assert rtm("show", game).exit_code == 2


def test_operations_of_one_game_and_of_all_are_filtered(rtm: Terminal) -> None:
    start_two(rtm)

    of_all, of_one = rtm.json("operations"), rtm.json("operations", "g-2", "--kind", "stop", "--outcome", "success")

    assert [(operation["game_id"], operation["op_kind"]) for operation in of_all["items"]] == [
        ("g-2", "stop"), ("g-2", "start"), ("g-1", "start"),
    ]  # fmt: skip
    assert [(operation["game_id"], operation["op_kind"]) for operation in of_one["items"]] == [("g-2", "stop")]
    assert rtm("operations", "g-2", "--state", "running").stdout == "No matching operations are on record.\n"


def test_an_operation_is_shown_with_its_steps(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)
    operation = Operation.objects.get()

    done = rtm("operation", str(operation.pk))

    assert done.exit_code == 0
    assert [step["name"] in done.stdout for step in operation.steps] == [True] * len(operation.steps)


def test_events_are_shown_oldest_first(rtm: Terminal) -> None:
    start_two(rtm)

    events = rtm.json("events", "--topic", "health_events")["items"]

    assert [(event["game_id"], event["fields"]["event_type"]) for event in events] == [
        ("g-1", "container_started"), ("g-2", "container_started"),
    ]  # fmt: skip
    assert rtm("events", "--game", "g-1").stdout.count("container_started") == 1


def test_explain_shows_the_cause(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    done, explained = rtm("explain", "g-1"), rtm.json("explain", "g-1")

    assert explained["game_id"] == "g-1"
    assert explained["cause"] in done.stdout


def test_dead_letters_are_listed_shown_and_redriven_once(rtm: Terminal, dead_letter: DeadLetter) -> None:
    rtm("start", "g-1", IMAGE)

    listed = rtm.json("dead-letters", "list")["items"]
    shown = rtm("dead-letters", "show", str(dead_letter.pk))
    rejected = rtm("dead-letters", "redrive", str(dead_letter.pk))
    done = rtm("dead-letters", "redrive", str(dead_letter.pk), "--set", "reason=cancelled", "--note", "ticket 7")
    second = rtm.json("dead-letters", "redrive", str(dead_letter.pk))

    dead_letter.refresh_from_db()
    assert [item["id"] for item in listed] == [str(dead_letter.pk)]
    assert "boredom" in shown.stdout
    assert rejected.exit_code == 2
    assert done.exit_code == 0
    assert second["is_no_op"] is True
    assert second["operation"]["id"] == str(dead_letter.redriven_as_id)
    assert dead_letter.note.endswith("ticket 7")
    assert rtm("dead-letters", "list").stdout == "No dead letters are waiting.\n"


def test_doctor_shows_the_failed_check_and_exits_with_1(rtm: Terminal, engine: FakeDocker) -> None:
    engine.networks.clear()

    done, checks = rtm("doctor", "--problems"), json.loads(rtm("doctor", "--json").stdout)["checks"]

    (network,) = [check for check in checks if check["name"] == "game network"]
    assert done.exit_code == 1
    assert "docker network create" in done.stdout
    assert network["status"] == "failed"


@pytest.mark.parametrize("source", ["environment", "file", "configuration"])
def test_a_token_is_used_from_each_of_its_sources(
    rtm: Terminal, rtm_settings: RtmSettings, tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    rtm_settings(api_auth="token")
    bearer = issue(ApiToken(name="ops", caller="admin", scopes="read")).bearer
    file = tmp_path_factory.mktemp("home") / "token"
    file.write_text(f'token = "{bearer}"\n' if source == "configuration" else f"{bearer}\n")
    file.chmod(0o600)
    environment = {
        "environment": {"RTM_TOKEN": bearer},
        "file": {"RTM_TOKEN_FILE": str(file)},
        "configuration": {"RTM_CONFIG": str(file)},
    }[source]

    read, operate = rtm("list", **environment), rtm("restart", "g-1", **environment)

    assert read.exit_code == 0
    assert operate.exit_code == 6
    assert "operate" in operate.stderr
    assert bearer not in operate.output


def test_the_log_of_a_game_keeps_its_two_streams_apart(rtm: Terminal, engine: FakeDocker) -> None:
    rtm("start", "g-1", IMAGE)
    (container_id,) = engine.containers
    engine.write_log(container_id, "turn 1 begins")
    engine.write_log(container_id, "no \x1b[2Jmap", stream="stderr")

    done, last = rtm("logs", "g-1"), rtm.json("logs", "g-1", "--tail", "1")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "turn 1 begins\n", "no \N{REPLACEMENT CHARACTER}[2Jmap\n")
    assert [line["stream"] for line in last["items"]] == ["stderr"]
    assert rtm("logs", "g-1", "--since", "2026-11-21T00:00:00Z", "--timestamps").exit_code == 0
    assert rtm("logs", "g-9").exit_code == 3


def test_stats_show_what_a_container_uses(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    done = rtm("stats", "g-1")

    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "container", "measured", "processor", "memory", "processes", "received", "sent",
    ]  # fmt: skip
    assert set(rtm.json("stats", "g-1")) >= {"cpu_percent", "memory_bytes", "pids"}


def test_exit_reports_show_how_the_containers_of_a_game_exited(rtm: Terminal, engine: FakeDocker) -> None:
    rtm("start", "g-1", IMAGE)
    (container_id,) = engine.containers
    engine.write_log(container_id, "the last log line")
    rtm("stop", "g-1")
    rtm("cleanup", "g-1")

    (report,) = rtm.json("exit-reports", "g-1")["items"]
    listed, shown = rtm("exit-reports", "g-1"), rtm("exit-report", report["id"])

    assert report["cause"] in listed.stdout
    assert report["container_id"] == container_id
    assert "the last log line" in shown.stdout
    assert rtm("exit-reports", "g-9").stdout == "No exit reports of this game.\n"
    assert rtm("exit-report", "999").exit_code == 3
