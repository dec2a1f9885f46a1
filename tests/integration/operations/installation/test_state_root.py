"""A start fails if the marker, the root or the game directory is missing, until an operator accepts it."""

import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from operations.installation import state_root
from operations.models import Operation
from operations.states import OperationKind, OperationSource
from runtimes.models import Installation, Runtime
from runtimes.storage.state_root import MARKER_NAME
from tests.conftest import RtmSettings
from tests.integration.harness import OTHER_IMAGE, Rig

FOREIGN = "0" * 32


@pytest.fixture(autouse=True)
def _new_process() -> Iterator[None]:
    """This process remembers nothing of other tests' roots."""
    state_root.known_roots.clear()
    yield
    state_root.known_roots.clear()


@pytest.fixture
def ran(rig: Rig) -> Rig:
    """An installation with one game that has run and is stopped now."""
    rig.start()
    rig.stop()
    (rig.state_root / "g1" / "turn-1").write_text("saved")
    return rig


def unmount(rig: Rig) -> None:
    """What remains of a mount point: an empty directory."""
    rig.state_root.rename(rig.state_root.with_name("disk"))
    rig.state_root.mkdir()


def mount_again(rig: Rig) -> None:
    rig.state_root.rmdir()
    rig.state_root.with_name("disk").rename(rig.state_root)


def marker(root: Path) -> str:
    return (root / MARKER_NAME).read_text().partition("\n")[0]


def test_the_first_start_of_an_installation_makes_root_and_marker_and_records_the_id(rig: Rig) -> None:
    rig.start()

    assert Installation.load().state_root_id == marker(rig.state_root) != ""


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("game_id", ["g1", "new"])
def test_an_unmounted_root_is_refused_for_every_game_and_by_a_new_process(
    ran: Rig, game_id: str, *, restarted: bool
) -> None:
    unmount(ran)
    if restarted:
        state_root.known_roots.clear()

    refused = ran.start(game_id)

    assert (refused.outcome, refused.error_code) == ("failure", "start_config_invalid")
    assert "no marker file" in refused.error_message
    assert "findmnt" in refused.error_message
    assert list(ran.state_root.iterdir()) == []


def test_a_mounted_root_works_again_without_any_command(ran: Rig) -> None:
    unmount(ran)
    ran.start()
    mount_again(ran)

    assert ran.start().outcome == "success"
    assert (ran.state_root / "g1" / "turn-1").read_text() == "saved"


def test_a_root_that_disappeared_is_not_created_again(ran: Rig) -> None:
    ran.state_root.rename(ran.state_root.with_name("disk"))

    refused = ran.start("new")

    assert refused.error_code == "start_config_invalid"
    assert "does not exist" in refused.error_message
    assert not ran.state_root.exists()


def test_a_root_of_another_installation_is_refused_and_names_both_ids(ran: Rig) -> None:
    (ran.state_root / MARKER_NAME).write_text(f"{FOREIGN}\n")

    refused = ran.start()

    assert refused.error_code == "start_config_invalid"
    assert FOREIGN in refused.error_message
    assert Installation.load().state_root_id in refused.error_message


def test_accepting_an_empty_state_never_accepts_a_root(ran: Rig) -> None:
    unmount(ran)

    assert ran.start(accept_empty_state=True).error_code == "start_config_invalid"
    assert ran.restart(accept_empty_state=True).error_code == "start_config_invalid"


@pytest.mark.parametrize("status", ["running", "stopped", "removed"])
@pytest.mark.parametrize("verb", ["start", "restart", "patch"])
def test_a_game_that_has_run_is_refused_without_its_directory_before_anything_changes(
    rig: Rig, status: str, verb: str
) -> None:
    rig.start()
    if status != "running":
        rig.stop()
    if status == "removed":
        rig.cleanup()
    shutil.rmtree(rig.state_root / "g1")
    before = (dict(rig.engine.containers), Runtime.objects.values().get())

    refused = rig.patch(OTHER_IMAGE) if verb == "patch" else {"start": rig.start, "restart": rig.restart}[verb]()

    if (status, verb) == ("running", "start"):
        assert refused.error_code == "replay_no_op"
    elif status == "removed" and verb != "start":
        assert refused.error_code == "conflict"
    else:
        assert refused.error_code == "start_config_invalid"
        assert "is missing, but the game has run before" in refused.error_message
        assert "mounted" in refused.error_message
        assert "accept_empty_state" in refused.error_message
    assert (dict(rig.engine.containers), Runtime.objects.values().get()) == before
    assert not (rig.state_root / "g1").exists()


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_an_empty_directory_can_be_accepted_and_the_operation_says_so(ran: Rig, verb: str) -> None:
    shutil.rmtree(ran.state_root / "g1")

    done = (ran.start if verb == "start" else ran.restart)(accept_empty_state=True)

    assert done.outcome == "success"
    assert done.arguments["accept_empty_state"] is True
    assert "started with an empty one, as accepted" in done.error_message
    assert (ran.state_root / "g1").is_dir()


def test_accepting_changes_nothing_if_the_directory_exists(ran: Rig) -> None:
    done = ran.start(accept_empty_state=True)

    assert (done.outcome, done.error_message) == ("success", "")
    assert (ran.state_root / "g1" / "turn-1").read_text() == "saved"


def test_a_directory_made_by_hand_is_accepted_for_jobs_from_the_stream(ran: Rig) -> None:
    shutil.rmtree(ran.state_root / "g1")
    refused = ran.start()
    (ran.state_root / "g1").mkdir()

    assert refused.error_code == "start_config_invalid"
    assert ran.start().outcome == "success"


def test_a_game_that_was_only_created_gets_a_directory(rig: Rig) -> None:
    rig.start(no_start=True)
    shutil.rmtree(rig.state_root / "g1")

    assert rig.start().outcome == "success"


def test_an_adopted_game_that_never_had_a_directory_can_be_restarted(rig: Rig) -> None:
    rig.start()
    rig.start("other")
    Operation.objects.filter(game_id="g1").delete()
    shutil.rmtree(rig.state_root / "g1")

    assert rig.restart().outcome == "success"


class TestUpgrade:
    """Records exist from before, but no id on record and no marker file."""

    @pytest.fixture
    def old(self, ran: Rig) -> Rig:
        (ran.state_root / MARKER_NAME).unlink()
        Installation.objects.update(state_root_id="")
        state_root.known_roots.clear()
        return ran

    def test_the_first_start_marks_a_root_with_the_directory_of_a_known_game(self, old: Rig) -> None:
        assert old.start("new").outcome == "success"
        assert Installation.load().state_root_id == marker(old.state_root)

    def test_a_root_without_any_known_game_is_refused(self, old: Rig) -> None:
        unmount(old)

        refused = old.start("new")

        assert refused.error_code == "start_config_invalid"
        assert "no directory of any of the 1 games started before" in refused.error_message
        assert list(old.state_root.iterdir()) == []
        assert Installation.load().state_root_id == ""

    def test_a_root_that_does_not_exist_is_refused(self, old: Rig) -> None:
        old.state_root.rename(old.state_root.with_name("disk"))

        assert old.start("new").error_code == "start_config_invalid"
        assert not old.state_root.exists()

    def test_a_marker_that_is_there_already_is_adopted(self, old: Rig) -> None:
        (old.state_root / MARKER_NAME).write_text(f"{FOREIGN}\n")

        assert old.start("new").outcome == "success"
        assert Installation.load().state_root_id == FOREIGN


class TestAcceptStateRoot:
    """``manage.py accept_state_root``."""

    def test_a_moved_root_is_accepted_with_the_recorded_id(self, ran: Rig) -> None:
        recorded = marker(ran.state_root)
        unmount(ran)
        output = accept()

        assert "0 of 1 games" in output
        assert marker(ran.state_root) == recorded == Installation.load().state_root_id
        assert ran.start("new").outcome == "success"
        assert ran.start("g1").error_code == "start_config_invalid"

    def test_a_second_host_with_its_own_disk_gets_the_same_id(
        self, ran: Rig, rtm_settings: RtmSettings, tmp_path: Path
    ) -> None:
        (tmp_path / "host-2").mkdir()
        rtm_settings(game_state_root=str(tmp_path / "host-2"))
        refused = ran.start("new")

        accept()

        assert refused.error_code == "start_config_invalid"
        assert marker(tmp_path / "host-2") == marker(ran.state_root)
        assert ran.start("new").outcome == "success"

    @pytest.mark.parametrize("content", [f"{FOREIGN}\n", "nonsense", ""])
    def test_any_other_marker_is_replaced(self, ran: Rig, content: str) -> None:
        recorded = marker(ran.state_root)
        (ran.state_root / MARKER_NAME).write_text(content)

        accept()

        assert marker(ran.state_root) == recorded
        assert ran.start().outcome == "success"

    def test_on_a_new_installation_it_records_the_id_of_the_existing_marker(self, rig: Rig) -> None:
        rig.state_root.mkdir()
        (rig.state_root / MARKER_NAME).write_text(f"{FOREIGN}\n")

        accept()

        assert Installation.load().state_root_id == FOREIGN

    def test_it_changes_nothing_if_the_marker_is_correct_or_with_dry_run(self, ran: Rig) -> None:
        before = (ran.state_root / MARKER_NAME).stat().st_ino
        well = accept()
        unmount(ran)
        dry = accept("--dry-run")

        assert "nothing was changed" in well
        assert (ran.state_root.with_name("disk") / MARKER_NAME).stat().st_ino == before
        assert "no marker file" in dry
        assert list(ran.state_root.iterdir()) == []

    def test_a_missing_root_is_not_created(self, ran: Rig) -> None:
        shutil.rmtree(ran.state_root)

        with pytest.raises(CommandError, match="does not exist"):
            accept()

        assert not ran.state_root.exists()


def test_a_start_in_a_process_that_knows_the_root_needs_no_query_for_it(
    rig: Rig,
) -> None:
    rig.start()
    installation = "runtimes_installation"
    seen: list[str] = []

    def note(execute: Callable[..., object], sql: str, *rest: object) -> object:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        rig.start("g2")

    assert [sql for sql in seen if installation in sql] == []


def test_two_concurrent_first_starts_record_one_id(rig: Rig) -> None:
    inner: list[Operation] = []
    # The second worker's first start runs completely between the claim of the first one and its look at the root.
    rig.engine.on_call("network_exists", lambda: inner.append(_as_another_process(rig)))

    outer = rig.start("g1")

    assert (outer.outcome, inner[0].outcome) == ("success", "success")
    assert Installation.load().state_root_id == marker(rig.state_root)


def _as_another_process(rig: Rig) -> Operation:
    state_root.known_roots.clear()
    return rig.do(rig.ask(OperationKind.START, "g2", source=OperationSource.ADMIN_REST, image_ref=OTHER_IMAGE))


def accept(*options: str) -> str:
    out = StringIO()
    call_command("accept_state_root", "--yes", *options, stdout=out)
    return out.getvalue()
