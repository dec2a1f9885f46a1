"""What ``rtm`` shows of the service, over HTTP, with an engine in memory and a worker at hand."""

import json

import pytest
from pytest_django.live_server_helper import LiveServer

from operations.models import DeadLetter, Operation
from runtimes.containers.fake import FakeEngine
from runtimes.models import ApiToken
from runtimes.tokens import issue
from tests.conftest import RtmSettings
from tests.integration.cli_rigs import Terminal
from tests.integration.rest_rigs import IMAGE, NEXT_PATCH

pytestmark = pytest.mark.usefixtures("trusted_network", "engine")


@pytest.fixture
def rtm(live_server: LiveServer) -> Terminal:
    return Terminal(live_server.url)


@pytest.fixture
def letter() -> DeadLetter:
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


def test_the_list_shows_the_games_with_the_chosen_columns(rtm: Terminal) -> None:
    start_two(rtm)

    done = rtm("list", "--columns", "game,status,image")

    assert [line.split() for line in done.stdout.splitlines()] == [
        ["GAME", "STATUS", "IMAGE"],
        ["g-1", "running", IMAGE],
        ["g-2", "stopped", NEXT_PATCH],
    ]


@pytest.mark.parametrize(
    ("words", "games"),
    [
        ((), ["g-1", "g-2"]),
        (("--status", "stopped"), ["g-2"]),
        (("--image", "1.0.1"), ["g-2"]),
        (("--limit", "1"), ["g-1"]),
    ],
)
def test_the_list_is_filtered(rtm: Terminal, words: tuple[str, ...], games: list[str]) -> None:
    start_two(rtm)

    listed = rtm.json("list", *words)

    assert [record["game_id"] for record in listed["items"]] == games


def test_an_empty_list_says_so(rtm: Terminal) -> None:
    done = rtm("list")

    assert (done.exit_code, done.stdout) == (0, "No such games are on record.\n")


def test_a_column_that_does_not_exist_is_a_usage_error(rtm: Terminal) -> None:
    done = rtm("list", "--columns", "game,colour")

    assert done.exit_code == 2
    assert "colour" in done.stderr


def test_json_shows_a_record_as_the_api_does(rtm: Terminal) -> None:
    start_two(rtm)

    record = rtm.json("show", "g-2")

    assert (record["game_id"], record["status"], record["current_image_ref"]) == ("g-2", "stopped", NEXT_PATCH)


def test_a_game_nobody_knows_is_not_found(rtm: Terminal) -> None:
    done = rtm("show", "g-9")

    assert done.exit_code == 3
    assert "there is no runtime of game g-9" in done.stderr


@pytest.mark.parametrize("game", ["../readyz", "a/b", "", "x" * 52, "g?limit=1"])
def test_what_cannot_be_a_game_never_becomes_an_address(rtm: Terminal, game: str) -> None:
    assert rtm("show", game).exit_code == 2


def test_operations_of_one_game_and_of_all_are_filtered(rtm: Terminal) -> None:
    start_two(rtm)

    of_all, of_one = rtm.json("operations"), rtm.json("operations", "g-2", "--kind", "stop", "--outcome", "success")

    assert [(one["game_id"], one["op_kind"]) for one in of_all["items"]] == [
        ("g-2", "stop"), ("g-2", "start"), ("g-1", "start"),
    ]  # fmt: skip
    assert [(one["game_id"], one["op_kind"]) for one in of_one["items"]] == [("g-2", "stop")]
    assert rtm("operations", "g-2", "--state", "running").stdout == "No such operations are on record.\n"


def test_an_operation_is_shown_with_its_timeline(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)
    operation = Operation.objects.get()

    done = rtm("operation", str(operation.pk))

    assert done.exit_code == 0
    assert [step["name"] in done.stdout for step in operation.steps] == [True] * len(operation.steps)


def test_events_are_shown_oldest_first(rtm: Terminal) -> None:
    start_two(rtm)

    told = rtm.json("events", "--topic", "health_events")["items"]

    assert [(one["game_id"], one["fields"]["event_type"]) for one in told] == [
        ("g-1", "container_started"), ("g-2", "container_started"),
    ]  # fmt: skip
    assert rtm("events", "--game", "g-1").stdout.count("container_started") == 1


def test_explain_tells_the_cause_in_words(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    told, explained = rtm("explain", "g-1"), rtm.json("explain", "g-1")

    assert explained["game_id"] == "g-1"
    assert explained["cause"] in told.stdout


def test_dead_letters_are_listed_shown_and_redriven_once(rtm: Terminal, letter: DeadLetter) -> None:
    rtm("start", "g-1", IMAGE)

    listed = rtm.json("dead-letters", "list")["items"]
    shown = rtm("dead-letters", "show", str(letter.pk))
    refused = rtm("dead-letters", "redrive", str(letter.pk))
    done = rtm("dead-letters", "redrive", str(letter.pk), "--set", "reason=cancelled", "--note", "ticket 7")
    again = rtm.json("dead-letters", "redrive", str(letter.pk))

    letter.refresh_from_db()
    assert [one["id"] for one in listed] == [str(letter.pk)]
    assert "boredom" in shown.stdout
    assert refused.exit_code == 2
    assert done.exit_code == 0
    assert again["is_replay"] is True
    assert again["operation"]["id"] == str(letter.redriven_as_id)
    assert letter.note.endswith("ticket 7")
    assert rtm("dead-letters", "list").stdout == "No dead letters wait.\n"


def test_doctor_tells_what_failed_and_ends_with_1(rtm: Terminal, engine: FakeEngine) -> None:
    engine.networks.clear()

    done, checks = rtm("doctor", "--problems"), json.loads(rtm("doctor", "--json").stdout)["checks"]

    (network,) = [check for check in checks if check["name"] == "game network"]
    assert done.exit_code == 1
    assert "docker network create" in done.stdout
    assert network["status"] == "failed"


@pytest.mark.parametrize("way", ["environment", "file", "configuration"])
def test_a_token_opens_the_service_whichever_way_it_is_given(
    rtm: Terminal, rtm_settings: RtmSettings, tmp_path_factory: pytest.TempPathFactory, way: str
) -> None:
    rtm_settings(api_auth="token")
    bearer = issue(ApiToken(name="ops", caller="admin", scopes="read")).bearer
    place = tmp_path_factory.mktemp("home") / "token"
    place.write_text(f'token = "{bearer}"\n' if way == "configuration" else f"{bearer}\n")
    place.chmod(0o600)
    given = {
        "environment": {"RTM_TOKEN": bearer},
        "file": {"RTM_TOKEN_FILE": str(place)},
        "configuration": {"RTM_CONFIG": str(place)},
    }

    read, operate = rtm("list", **given[way]), rtm("restart", "g-1", **given[way])

    assert read.exit_code == 0
    assert operate.exit_code == 6
    assert "operate" in operate.stderr
    assert bearer not in operate.output


def test_the_log_of_a_game_keeps_its_two_streams_apart(rtm: Terminal, engine: FakeEngine) -> None:
    rtm("start", "g-1", IMAGE)
    (container_id,) = engine.containers
    engine.say(container_id, "turn 1 begins")
    engine.say(container_id, "no \x1b[2Jmap", stream="stderr")

    done, last = rtm("logs", "g-1"), rtm.json("logs", "g-1", "--tail", "1")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "turn 1 begins\n", "no \N{REPLACEMENT CHARACTER}[2Jmap\n")
    assert [line["stream"] for line in last["items"]] == ["stderr"]
    assert rtm("logs", "g-1", "--since", "2026-11-21T00:00:00Z", "--timestamps").exit_code == 0
    assert rtm("logs", "g-9").exit_code == 3


def test_stats_tell_what_a_container_uses(rtm: Terminal) -> None:
    rtm("start", "g-1", IMAGE)

    told = rtm("stats", "g-1")

    assert told.exit_code == 0
    assert [line.split()[0] for line in told.stdout.splitlines()] == [
        "container", "measured", "processor", "memory", "processes", "received", "sent",
    ]  # fmt: skip
    assert set(rtm.json("stats", "g-1")) >= {"cpu_percent", "memory_bytes", "pids"}


def test_black_boxes_tell_how_the_containers_of_a_game_ended(rtm: Terminal, engine: FakeEngine) -> None:
    rtm("start", "g-1", IMAGE)
    (container_id,) = engine.containers
    engine.say(container_id, "the last words")
    rtm("stop", "g-1")
    rtm("cleanup", "g-1")

    (box,) = rtm.json("black-boxes", "g-1")["items"]
    listed, shown = rtm("black-boxes", "g-1"), rtm("black-box", box["id"])

    assert box["cause"] in listed.stdout
    assert box["container_id"] == container_id
    assert "the last words" in shown.stdout
    assert rtm("black-boxes", "g-9").stdout == "No container of this game has ended yet.\n"
    assert rtm("black-box", "999").exit_code == 3
