"""Entries that no job could be read from: kept on a list, and made jobs by an operator, on a real database."""

import json
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from operations.models import DeadLetter, Operation
from operations.states import Topic
from tasks.bridge import JobBridge, job_parsers
from tasks.leadership import Leadership
from tasks.streams.fake import FakeJobStreams, FakeStreamServer
from tests.integration.rigs import IMAGE, OTHER_IMAGE, Rig, published, results

START, STOP = "runtime:start_jobs", "runtime:stop_jobs"
BORED = {"game_id": "g1", "reason": "boredom", "requested_at_ms": "1700000000000"}
LIST = "admin:operations_deadletter_changelist"
CONFIRMED = {"confirm": "yes", "because": "Lobby 2.3 sent the wrong word"}

pytestmark = pytest.mark.usefixtures("rig")


def receive(fields: dict[str, str], *, stream: str = STOP) -> DeadLetter:
    """The letter that an entry with these fields becomes."""
    server = FakeStreamServer()
    server.add(stream, fields)
    take_over(server)
    return DeadLetter.objects.latest("id")


def take_over(server: FakeStreamServer) -> None:
    parsers = job_parsers()
    streams = FakeJobStreams(server, names=list(parsers))
    JobBridge(streams, parsers=parsers, leadership=Leadership("test-bridge")).step()


def run(command: str, *words: str) -> str:
    said = StringIO()
    call_command(command, *words, stdout=said)
    return said.getvalue()


def redrive_in_admin(client: Client, letter: DeadLetter, *, mending: str = "", **sent: str) -> str:
    """Choose the action, or send the page that asks about it."""
    data = {"action": "redrive_selected", "_selected_action": str(letter.pk), "mending": mending, **sent}
    return client.post(reverse(LIST), data, follow=True).content.decode()


def test_a_bad_entry_is_kept_to_the_letter() -> None:
    letter = receive(BORED)

    told = published(Topic.DEAD_LETTERS)[0]
    assert (letter.stream, letter.entry_id, letter.reason) == (told["stream"], told["entry_id"], told["reason"])
    assert letter.fields == told["fields_json"]
    assert letter.game_id == "g1"
    assert letter.redriven_at is None


def test_an_entry_without_a_readable_game_is_kept_too() -> None:
    letter = receive({"game_id": "no game \x00", "reason": "cancelled"})

    assert letter.game_id == ""
    assert json.loads(letter.fields)["game_id"] == "no game \x00"


def test_an_entry_that_comes_again_after_a_crash_is_kept_once() -> None:
    server = FakeStreamServer()
    entry_id = server.add(STOP, BORED)
    take_over(server)
    server.pending[STOP][entry_id] = None

    take_over(server)

    assert not server.pending[STOP]
    assert DeadLetter.objects.count() == 1


def test_a_mended_letter_is_done_and_gets_a_result_of_its_own(rig: Rig) -> None:
    rig.start()
    letter = receive(BORED)

    run("redrive_dead_letter", str(letter.pk), "--set", "reason=cancelled", "--by", "ann", "--note", "ticket 7")

    operation = rig.do(Operation.objects.latest("id"))
    assert (operation.op_kind, operation.outcome, operation.op_source) == ("stop", "success", "lobby_stream")
    assert operation.source_ref == letter.entry_id
    outcomes = [(one["outcome"], one["error_code"]) for one in results()]
    assert outcomes == [("success", ""), ("failure", "invalid_request"), ("success", "")]
    letter.refresh_from_db()
    assert (letter.redriven_by, letter.redriven_as) == ("ann", operation)
    assert letter.note == "set reason='cancelled'; ticket 7"


def test_a_letter_redriven_twice_is_one_job() -> None:
    letter = receive(BORED)
    run("redrive_dead_letter", str(letter.pk), "--set", "reason=cancelled")

    said = [
        run("redrive_dead_letter", str(letter.pk), "--set", "reason=cancelled"),
        run("redrive_dead_letter", str(letter.pk)),
    ]

    assert all("was redriven before" in one for one in said)
    assert Operation.objects.count() == 1


def test_a_letter_does_not_become_a_second_and_different_job() -> None:
    letter = receive(BORED)
    run("redrive_dead_letter", str(letter.pk), "--set", "reason=cancelled")

    with pytest.raises(CommandError, match="redriven already, by console, as operation"):
        run("redrive_dead_letter", str(letter.pk), "--set", "reason=timeout")

    assert [one.arguments for one in Operation.objects.all()] == [{"reason": "cancelled"}]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "boredom"),
        (["--set", "reason=hunger"], "hunger"),
        (["--set", "reason=cancelled", "game_id=no game"], "game_id"),
        (["--set", "colour=red"], "no job has a field colour"),
        (["--set", "reason"], "write field=value"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_letter_that_is_no_job_still_is_refused_with_the_reason(
    words: list[str], reason: str, dry: list[str]
) -> None:
    letter = receive(BORED)

    with pytest.raises(CommandError, match=reason):
        run("redrive_dead_letter", str(letter.pk), *words, *dry)

    assert not Operation.objects.exists()
    assert not DeadLetter.objects.filter(redriven_at__isnull=False).exists()


def test_a_letter_of_a_stream_that_is_no_longer_read_is_refused() -> None:
    letter = receive(BORED)
    DeadLetter.objects.update(stream="old:jobs")

    with pytest.raises(CommandError, match="old:jobs is no job stream"):
        run("redrive_dead_letter", str(letter.pk), "--set", "reason=cancelled")


def test_a_letter_that_is_not_there_is_refused() -> None:
    with pytest.raises(CommandError, match="no dead letter 99"):
        run("redrive_dead_letter", "99")


def test_a_dry_run_tells_what_has_overtaken_the_job_and_changes_nothing(rig: Rig) -> None:
    letter = receive({"game_id": "g1", "requested_at_ms": "1700000000000"}, stream=START)
    rig.start()

    said = run("redrive_dead_letter", str(letter.pk), "--set", f"image_ref={OTHER_IMAGE}", "--dry-run")

    assert f"Would ask to start game g1 (image_ref {OTHER_IMAGE})." in said
    assert "1 operation(s) of this game were accepted since" in said
    assert Operation.objects.count() == 1


def test_a_redriven_job_is_done_after_what_was_accepted_before_it(rig: Rig) -> None:
    letter = receive(BORED)
    earlier = rig.ask_start()

    run("redrive_dead_letter", str(letter.pk), "--set", "reason=cancelled")

    rig.do(earlier)
    assert [one["error_code"] for one in results()] == ["invalid_request", "", ""]
    assert list(Operation.objects.order_by("id").values_list("op_kind", "outcome")) == [
        ("start", "success"),
        ("stop", "success"),
    ]


def test_the_list_shows_what_waits_and_on_request_all() -> None:
    first, second = receive(BORED), receive({"game_id": "g2", "image_ref": IMAGE}, stream=START)
    DeadLetter.objects.filter(pk=first.pk).update(entry_id="0-7")
    run("redrive_dead_letter", str(first.pk), "--set", "reason=cancelled")

    waiting, everything = run("dead_letters"), run("dead_letters", "--all")

    assert [line.split()[0] for line in waiting.splitlines()] == [str(second.pk)]
    assert "field requested_at_ms is missing" in waiting
    assert f"redriven as operation {Operation.objects.get().pk} by console" in everything.splitlines()[0]


def test_an_empty_list_says_so() -> None:
    assert run("dead_letters") == "No dead letters wait.\n"


def test_the_list_can_be_read_by_programs() -> None:
    letter = receive(BORED)

    listed = json.loads(run("dead_letters", "--json"))

    assert [(one["id"], one["fields"], one["game_id"], one["redriven_as"]) for one in listed] == [
        (letter.pk, BORED, "g1", None)
    ]


def test_an_administrator_mends_and_redrives_from_the_list(client: Client) -> None:
    client.force_login(User.objects.create_superuser("op"))
    letter = receive(BORED)

    page = redrive_in_admin(client, letter, mending="reason=cancelled", **CONFIRMED)

    operation = Operation.objects.get()
    assert f"Dead letter {letter.pk} is operation {operation.pk}." in page
    letter.refresh_from_db()
    assert (letter.redriven_by, letter.redriven_as) == ("op", operation)
    assert letter.note == "set reason='cancelled'; Lobby 2.3 sent the wrong word"
    assert LogEntry.objects.get().change_message == f"Redriven as operation {operation.pk}: {letter.note}"
    again = redrive_in_admin(client, letter, mending="reason=cancelled", **CONFIRMED)
    assert f"Dead letter {letter.pk} was operation {operation.pk} already: nothing done." in again
    assert LogEntry.objects.count() == 1


def test_an_administrator_sees_what_a_letter_would_become_and_must_say_why(client: Client) -> None:
    client.force_login(User.objects.create_superuser("op"))
    letter = receive(BORED)

    chosen = redrive_in_admin(client, letter)
    mended = redrive_in_admin(client, letter, mending="reason=cancelled", look_again="yes", because="wrong word")
    unexplained = redrive_in_admin(client, letter, mending="reason=cancelled", confirm="yes", because="")

    assert "Would be refused" in chosen
    assert "boredom" in chosen
    assert "Would ask to stop game g1 (reason cancelled)." in mended
    assert "wrong word" in mended
    assert "This field is required" in unexplained
    assert not Operation.objects.exists()


@pytest.mark.parametrize(("mending", "reason"), [("", "boredom"), ("reason='", "No closing quotation")])
def test_an_administrator_is_told_why_a_letter_is_refused(client: Client, mending: str, reason: str) -> None:
    client.force_login(User.objects.create_superuser("op"))
    letter = receive(BORED)

    page = redrive_in_admin(client, letter, mending=mending, **CONFIRMED)

    assert f"Dead letter {letter.pk} not redriven" in page
    assert reason in page
    assert not Operation.objects.exists()


def test_who_may_only_look_cannot_redrive(client: Client) -> None:
    watcher = User.objects.create_user("watcher", is_staff=True)
    watcher.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client.force_login(watcher)
    letter = receive(BORED)

    redrive_in_admin(client, letter, mending="reason=cancelled", **CONFIRMED)

    assert client.get(reverse(LIST)).status_code == 200
    assert not Operation.objects.exists()


def test_a_letter_has_a_page_and_cannot_be_edited(client: Client) -> None:
    client.force_login(User.objects.create_superuser("op"))
    letter = receive(BORED)
    address = reverse("admin:operations_deadletter_change", args=[letter.pk])

    statuses = [client.get(address).status_code, client.post(address, {}).status_code]

    assert statuses == [200, 403]
    assert "boredom" in client.get(address).content.decode()
