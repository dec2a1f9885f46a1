"""Invalid stream entries are stored, and an operator redrives them, with a real database."""

import json
from collections.abc import Mapping
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from operations.messages import FieldValue, job_parsers
from operations.models import DeadLetter, Operation
from operations.states import Topic
from tasks.loops.bridge import JobBridge
from tasks.loops.leader_election import LeaderElection
from tasks.streams.fake import FakeJobStreams, FakeStreamServer
from tests.integration.harness import IMAGE, OTHER_IMAGE, Rig, published, results

START, STOP = "runtime:start_jobs", "runtime:stop_jobs"
BORED = {"game_id": "g1", "reason": "boredom", "requested_at_ms": "1700000000000"}
LIST = "admin:operations_deadletter_changelist"
CONFIRMED = {"confirm": "yes", "because": "Lobby 2.3 sent the wrong word"}

pytestmark = pytest.mark.usefixtures("rig")


def receive(fields: Mapping[str, FieldValue], *, stream: str = STOP) -> DeadLetter:
    """Return the dead letter of an entry with these fields."""
    server = FakeStreamServer()
    server.add(stream, fields)
    take_over(server)
    return DeadLetter.objects.latest("id")


def take_over(server: FakeStreamServer) -> None:
    parsers = job_parsers()
    streams = FakeJobStreams(server, names=list(parsers))
    JobBridge(streams, parsers=parsers, leadership=LeaderElection("test-bridge")).step()


def run(command: str, *arguments: str) -> str:
    output = StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


def redrive_in_admin(client: Client, dead_letter: DeadLetter, *, corrections: str = "", **sent: str) -> str:
    """Choose the action, or submit its confirmation page."""
    data = {"action": "redrive_selected", "_selected_action": str(dead_letter.pk), "corrections": corrections, **sent}
    return client.post(reverse(LIST), data, follow=True).content.decode()


def test_an_invalid_entry_is_stored_exactly() -> None:
    dead_letter = receive(BORED)

    entry = published(Topic.DEAD_LETTERS)[0]
    assert (dead_letter.stream, dead_letter.entry_id, dead_letter.reason) == (
        entry["stream"],
        entry["entry_id"],
        entry["reason"],
    )
    assert dead_letter.fields == entry["fields_json"]
    assert dead_letter.game_id == "g1"
    assert dead_letter.redriven_at is None


def test_an_entry_without_a_valid_game_id_is_stored_too() -> None:
    dead_letter = receive({"game_id": "no game \x00", "reason": "cancelled"})

    assert dead_letter.game_id == ""
    assert json.loads(dead_letter.fields)["game_id"] == "no game \x00"


def test_an_entry_that_is_read_again_after_a_crash_is_stored_once() -> None:
    server = FakeStreamServer()
    entry_id = server.add(STOP, BORED)
    take_over(server)
    server.pending[STOP][entry_id] = server.now_ms

    take_over(server)

    assert not server.pending[STOP]
    assert DeadLetter.objects.count() == 1


def test_a_repeated_field_is_kept_with_all_its_values_and_can_be_corrected() -> None:
    dead_letter = receive({**BORED, "reason": ["timeout", "cancelled"]})

    assert json.loads(dead_letter.fields)["reason"] == ["timeout", "cancelled"]
    assert [result["error_message"] for result in results()] == ["field 'reason' occurs more than once"]
    with pytest.raises(CommandError, match="occurs more than once"):
        run("redrive_dead_letter", str(dead_letter.pk), "--by", "ann")
    run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=timeout", "--by", "ann")
    assert Operation.objects.get().arguments == {"reason": "timeout"}


def test_a_repeated_field_without_a_meaning_does_not_hinder_a_redrive() -> None:
    dead_letter = receive({**BORED, "reason": "timeout", "trace": ["1", "2"]})

    run("redrive_dead_letter", str(dead_letter.pk), "--by", "ann")

    assert Operation.objects.get().op_kind == "stop"


def test_a_repeated_game_id_names_no_game() -> None:
    dead_letter = receive({**BORED, "reason": "timeout", "game_id": ["g1", "g1"]})

    assert (dead_letter.game_id, results()) == ("", [])


def test_a_corrected_dead_letter_runs_and_gets_its_own_result(rig: Rig) -> None:
    rig.start()
    dead_letter = receive(BORED)

    run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=cancelled", "--by", "ann", "--note", "ticket 7")

    operation = rig.do(Operation.objects.latest("id"))
    assert (operation.op_kind, operation.outcome, operation.op_source) == ("stop", "success", "lobby_stream")
    assert operation.source_ref == dead_letter.entry_id
    outcomes = [(one["outcome"], one["error_code"]) for one in results()]
    assert outcomes == [("success", ""), ("failure", "invalid_request"), ("success", "")]
    dead_letter.refresh_from_db()
    assert (dead_letter.redriven_by, dead_letter.redriven_as) == ("ann", operation)
    assert dead_letter.note == "set reason='cancelled'; ticket 7"


def test_two_redrives_of_a_dead_letter_are_one_job() -> None:
    dead_letter = receive(BORED)
    run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=cancelled")

    said = [
        run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=cancelled"),
        run("redrive_dead_letter", str(dead_letter.pk)),
    ]

    assert all("was redriven before" in text for text in said)
    assert Operation.objects.count() == 1


def test_a_dead_letter_does_not_become_a_second_different_job() -> None:
    dead_letter = receive(BORED)
    run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=cancelled")

    with pytest.raises(CommandError, match="already redriven by console as operation"):
        run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=timeout")

    assert [one.arguments for one in Operation.objects.all()] == [{"reason": "cancelled"}]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "boredom"),
        (["--set", "reason=hunger"], "hunger"),
        (["--set", "reason=cancelled", "game_id=no game"], "game_id"),
        (["--set", "colour=red"], "unknown job field colour"),
        (["--set", "reason"], "write field=value"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_dead_letter_that_is_still_invalid_is_refused_with_the_reason(
    arguments: list[str], reason: str, dry: list[str]
) -> None:
    dead_letter = receive(BORED)

    with pytest.raises(CommandError, match=reason):
        run("redrive_dead_letter", str(dead_letter.pk), *arguments, *dry)

    assert not Operation.objects.exists()
    assert not DeadLetter.objects.filter(redriven_at__isnull=False).exists()


def test_a_dead_letter_of_a_stream_that_is_no_longer_read_is_refused() -> None:
    dead_letter = receive(BORED)
    DeadLetter.objects.update(stream="old:jobs")

    with pytest.raises(CommandError, match="old:jobs is no job stream"):
        run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=cancelled")


def test_the_redrive_of_an_unknown_dead_letter_is_refused() -> None:
    with pytest.raises(CommandError, match="no dead letter 99"):
        run("redrive_dead_letter", "99")


def test_a_dry_run_reports_newer_operations_and_changes_nothing(rig: Rig) -> None:
    dead_letter = receive({"game_id": "g1", "requested_at_ms": "1700000000000"}, stream=START)
    rig.start()

    said = run("redrive_dead_letter", str(dead_letter.pk), "--set", f"image_ref={OTHER_IMAGE}", "--dry-run")

    assert f"Would start game g1 (image_ref {OTHER_IMAGE})." in said
    assert "1 operation(s) of this game were accepted since" in said
    assert Operation.objects.count() == 1


def test_a_redriven_job_runs_after_the_operations_accepted_before_it(rig: Rig) -> None:
    dead_letter = receive(BORED)
    earlier = rig.ask_start()

    run("redrive_dead_letter", str(dead_letter.pk), "--set", "reason=cancelled")

    rig.do(earlier)
    assert [one["error_code"] for one in results()] == ["invalid_request", "", ""]
    assert list(Operation.objects.order_by("id").values_list("op_kind", "outcome")) == [
        ("start", "success"),
        ("stop", "success"),
    ]


def test_the_list_shows_waiting_dead_letters_and_with_all_every_one() -> None:
    first, second = receive(BORED), receive({"game_id": "g2", "image_ref": IMAGE}, stream=START)
    DeadLetter.objects.filter(pk=first.pk).update(entry_id="0-7")
    run("redrive_dead_letter", str(first.pk), "--set", "reason=cancelled")

    waiting, everything = run("dead_letters"), run("dead_letters", "--all")

    assert [line.split()[0] for line in waiting.splitlines()] == [str(second.pk)]
    assert "field requested_at_ms is missing" in waiting
    assert f"redriven as operation {Operation.objects.get().pk} by console" in everything.splitlines()[0]


def test_an_empty_list_says_so() -> None:
    assert run("dead_letters") == "No dead letters wait.\n"


def test_the_list_can_be_printed_as_json() -> None:
    dead_letter = receive(BORED)

    listed = json.loads(run("dead_letters", "--json"))

    assert [(one["id"], one["fields"], one["game_id"], one["redriven_as"]) for one in listed] == [
        (dead_letter.pk, BORED, "g1", None)
    ]


def test_an_administrator_corrects_and_redrives_from_the_list(client: Client) -> None:
    client.force_login(User.objects.create_superuser("op"))
    dead_letter = receive(BORED)

    page = redrive_in_admin(client, dead_letter, corrections="reason=cancelled", **CONFIRMED)

    operation = Operation.objects.get()
    assert f"Dead letter {dead_letter.pk} is now operation {operation.pk}." in page
    dead_letter.refresh_from_db()
    assert (dead_letter.redriven_by, dead_letter.redriven_as) == ("op", operation)
    assert dead_letter.note == "set reason='cancelled'; Lobby 2.3 sent the wrong word"
    assert LogEntry.objects.get().change_message == f"Redriven as operation {operation.pk}: {dead_letter.note}"
    again = redrive_in_admin(client, dead_letter, corrections="reason=cancelled", **CONFIRMED)
    assert f"Dead letter {dead_letter.pk} is already operation {operation.pk}: nothing changed." in again
    assert LogEntry.objects.count() == 1


def test_an_administrator_sees_a_preview_and_must_give_a_reason(client: Client) -> None:
    client.force_login(User.objects.create_superuser("op"))
    dead_letter = receive(BORED)

    chosen = redrive_in_admin(client, dead_letter)
    corrected = redrive_in_admin(
        client, dead_letter, corrections="reason=cancelled", preview="yes", because="wrong word"
    )
    unexplained = redrive_in_admin(client, dead_letter, corrections="reason=cancelled", confirm="yes", because="")

    assert "Would be refused" in chosen
    assert "boredom" in chosen
    assert "Would stop game g1 (reason cancelled)." in corrected
    assert "wrong word" in corrected
    assert "This field is required" in unexplained
    assert not Operation.objects.exists()


@pytest.mark.parametrize(("corrections", "reason"), [("", "boredom"), ("reason='", "No closing quotation")])
def test_the_page_shows_an_administrator_why_a_redrive_is_refused(
    client: Client, corrections: str, reason: str
) -> None:
    client.force_login(User.objects.create_superuser("op"))
    dead_letter = receive(BORED)

    page = redrive_in_admin(client, dead_letter, corrections=corrections, **CONFIRMED)

    assert f"Dead letter {dead_letter.pk} not redriven" in page
    assert reason in page
    assert not Operation.objects.exists()


def test_a_user_with_the_view_permission_alone_cannot_redrive(client: Client) -> None:
    watcher = User.objects.create_user("watcher", is_staff=True)
    watcher.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client.force_login(watcher)
    dead_letter = receive(BORED)

    redrive_in_admin(client, dead_letter, corrections="reason=cancelled", **CONFIRMED)

    assert client.get(reverse(LIST)).status_code == 200
    assert not Operation.objects.exists()


def test_a_dead_letter_has_a_page_and_cannot_be_edited(client: Client) -> None:
    client.force_login(User.objects.create_superuser("op"))
    dead_letter = receive(BORED)
    address = reverse("admin:operations_deadletter_change", args=[dead_letter.pk])

    statuses = [client.get(address).status_code, client.post(address, {}).status_code]

    assert statuses == [200, 403]
    assert "boredom" in client.get(address).content.decode()
