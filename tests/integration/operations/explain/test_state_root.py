"""What explain says of a game that was refused for its state root or its state directory: only what then works."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operations.explain.collect import explain_game
from operations.explain.explanation import Explanation
from operations.installation import state_root
from runtimes.models import Installation
from runtimes.storage.state_root import MARKER_NAME
from tests.integration.harness import IMAGE, Rig


@pytest.fixture(autouse=True)
def _new_process() -> Iterator[None]:
    """This process knows no state root of other tests."""
    state_root.known_roots.clear()
    yield
    state_root.known_roots.clear()


@pytest.fixture
def stopped(rig: Rig) -> Rig:
    """A game that ran and is stopped."""
    rig.start()
    rig.stop()
    return rig


def remove_marker(root: Path) -> None:
    (root / MARKER_NAME).unlink()


def change_marker(root: Path) -> None:
    (root / MARKER_NAME).write_text("0" * 32 + "\n")


def damage_marker(root: Path) -> None:
    (root / MARKER_NAME).write_text("damaged\n")


def possible_verbs(explanation: Explanation) -> set[str]:
    return {verb for verb, reason in explanation.verbs.items() if not reason}


@pytest.mark.parametrize("break_root", [remove_marker, change_marker, damage_marker])
@pytest.mark.parametrize("has_directory", [True, False])
def test_a_wrong_state_root_is_named_and_no_start_is_proposed(
    stopped: Rig, break_root: Callable[[Path], None], *, has_directory: bool
) -> None:
    break_root(stopped.state_root)
    if not has_directory:
        shutil.rmtree(stopped.state_root / "g1")
    state_root.known_roots.clear()
    assert stopped.restart().error_code == "start_config_invalid"

    explanation = explain_game("g1")

    assert explanation.cause == "state_directory_unusable"
    assert f"{stopped.state_root} is not the recorded state root" in explanation.headline
    assert "manage.py accept_state_root" in explanation.next_step.text
    assert "accept-empty-state" not in explanation.next_step.text
    assert explanation.next_step.verb is None
    assert possible_verbs(explanation) == {"stop", "cleanup"}


def test_a_state_root_that_was_accepted_lets_the_game_start(stopped: Rig) -> None:
    change_marker(stopped.state_root)
    state_root.known_roots.clear()
    stopped.restart()
    state_root.accept()

    explanation = explain_game("g1")

    assert (explanation.cause, explanation.next_step.verb) == ("state_directory_unusable", "start")
    assert stopped.start().outcome == "success"


def test_a_directory_without_a_recorded_root_is_not_called_wrong(stopped: Rig) -> None:
    remove_marker(stopped.state_root)
    Installation.objects.update(state_root_id="")

    assert explain_game("g1").verbs["restart"] == ""


@pytest.mark.parametrize(
    ("is_removed", "verb", "command"),
    [
        (False, "restart", "rtm restart g1 --accept-empty-state"),
        (False, "start", f"rtm start g1 {IMAGE} --accept-empty-state"),
        (True, "start", f"rtm start g1 {IMAGE} --accept-empty-state"),
    ],
)
def test_a_missing_directory_names_the_command_that_accepts_it_and_keeps_the_verbs_possible(
    stopped: Rig, verb: str, command: str, *, is_removed: bool
) -> None:
    if is_removed:
        stopped.cleanup()
    shutil.rmtree(stopped.state_root / "g1")
    act = {"start": stopped.start, "restart": stopped.restart}[verb]
    refused = act()

    explanation = explain_game("g1")

    assert command in refused.error_message
    assert command in explanation.next_step.text
    assert {"start"} | ({"restart"} if not is_removed else set()) <= possible_verbs(explanation)
    assert "patch" not in possible_verbs(explanation)
    assert act(accept_empty_state=True).outcome == "success"
    assert explain_game("g1").cause == "healthy"
