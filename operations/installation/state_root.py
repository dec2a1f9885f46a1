"""Checks that the state root is the recorded one, and that the directory of a game is there.

A disk that is not mounted looks like an empty or missing directory, and a game would start there with an empty state.
So a start fails if the marker file is missing or unknown, or if the directory of a game that has run before is missing.
"""

import structlog
from django.conf import settings
from django.db.models import QuerySet

from operations.execution.attempt import Attempt
from operations.kinds import CREATES_CONTAINER
from operations.models import Operation
from operations.states import OperationKind, Outcome
from runtimes.exceptions import StartConfigInvalidError
from runtimes.formatting import verb_command
from runtimes.models import Installation, Runtime
from runtimes.storage.state_root import (
    MARKER_NAME,
    StateRootMissingError,
    add_marker,
    has_directory,
    make_root,
    new_id,
    opened_root,
    read_marker,
    replace_marker,
)

log = structlog.get_logger(__name__)

# State root → its id, once this process has compared it with the record. Later starts need no query.
known_roots: dict[str, str] = {}


class RecordedRoot:
    """Accepts only the recorded state root (``runtimes.storage.state_dirs.RootGuard``)."""

    def __init__(self, root: str) -> None:
        self._root = root

    def make_if_first(self) -> None:
        """Create a missing root if this installation never had one; else raise StartConfigInvalidError."""
        if Installation.load().state_root_id or _games_started_before():
            raise _refused(self._root, "does not exist, but games of this installation have their state there")
        make_root(self._root)

    def check(self, root_fd: int) -> None:
        """Raise StartConfigInvalidError unless the marker file has the recorded id. Record the first root of all.

        Reads one small file. Queries the database only if this process does not know the id yet.
        """
        found = read_marker(root_fd, root=self._root)
        if found and found == known_roots.get(self._root):
            return
        recorded = Installation.load().state_root_id or self._record_first(root_fd, found)
        found = found or read_marker(root_fd, root=self._root)
        if found != recorded:
            raise _refused(self._root, _difference(found=found, recorded=recorded))
        known_roots[self._root] = found

    def _record_first(self, root_fd: int, found: str) -> str:
        if not found:
            games = _games_started_before()
            # The first start after an upgrade: the root must hold the state of at least one game.
            if games and not any(has_directory(root_fd, game_id) for game_id in games):
                reason = f"has no marker file and no directory of any of the {len(games)} games started before"
                raise _refused(self._root, reason)
            found = add_marker(root_fd, new_id(), root=self._root)
        return _record_id(found)


def refuse_missing_directory(attempt: Attempt, path: str) -> None:
    """Raise StartConfigInvalidError if the game has run before, unless the caller accepts an empty directory.

    Called if the game has no state directory.
    """
    if attempt.operation.arguments.get("accept_empty_state") is True or not has_run_before(attempt):
        return
    message = (
        f"state directory {path} of game {attempt.game_id} is missing, but the game has run before. Check that its "
        f"disk is mounted (findmnt -T {attempt.policy.state_root}) and that the directory was not moved. To start with "
        f"an empty one, use accept_empty_state ({_accepting_command(attempt)})"
    )
    raise StartConfigInvalidError(message)


def _accepting_command(attempt: Attempt) -> str:
    """The command that accepts an empty directory. A patch cannot accept it, so the game is restarted first."""
    if attempt.operation.op_kind != OperationKind.START:
        return verb_command("restart", attempt.game_id, "--accept-empty-state")
    return verb_command("start", attempt.game_id, attempt.operation.arguments["image_ref"], "--accept-empty-state")


def note_of(attempt: Attempt, path: str) -> str:
    """The note of the operation about a state directory that it has created; usually empty."""
    if attempt.operation.arguments.get("accept_empty_state") is True and has_run_before(attempt):
        return f"state directory {path} was missing; the game started with an empty one, as accepted"
    return ""


def has_run_before(attempt: Attempt) -> bool:
    """Whether an operation of RTM has started the game. An adopted game has no directory of RTM."""
    is_started = attempt.runtime is not None and attempt.runtime.started_at is not None
    return is_started and _started_operations().filter(game_id=attempt.game_id).exists()


def refusal_of_root(root: str) -> str:
    """Return why no game could start on this root, as this process sees it; empty if games can start.

    Changes nothing. One query.
    """
    recorded = Installation.load().state_root_id
    try:
        with opened_root(root) as root_fd:
            found = read_marker(root_fd, root=root)
    except StateRootMissingError as missing:
        return f"{missing.message}; {_mount_advice(root)}" if recorded else ""
    except StartConfigInvalidError as error:
        return error.message
    if found == recorded or not recorded:
        return ""
    return _refused(root, _difference(found=found, recorded=recorded)).message


def accept() -> tuple[str, bool]:
    """Make the state root of this host a root of this installation: write the recorded id into its marker file.

    Returns the id, and whether the file has changed. Without a recorded id, records the one in the file. Idempotent.
    Raises StartConfigInvalidError if it cannot write.
    """
    root = settings.RTMANAGER.game_state_root
    with opened_root(root) as root_fd:
        try:
            had = read_marker(root_fd, root=root)
        except StartConfigInvalidError:
            had = "unreadable"
        recorded = Installation.load().state_root_id
        if not recorded:
            recorded = _record_id(new_id() if had in {"", "unreadable"} else had)
        if had != recorded:
            replace_marker(root_fd, recorded, root=root)
    log.info("state_root_accepted", root=root, marker_id=recorded, earlier_marker=had)
    return recorded, had != recorded


def directories_found(root: str) -> tuple[int, int]:
    """Count the games started before: those with a directory in the root, and all."""
    games = _games_started_before()
    with opened_root(root) as root_fd:
        return sum(has_directory(root_fd, game_id) for game_id in games), len(games)


def _record_id(marker_id: str) -> str:
    """Record the id unless one is recorded already; return the recorded one."""
    first = Installation.objects.filter(id=Installation.ONLY_ID, state_root_id="").update(state_root_id=marker_id)
    if first:
        log.info("state_root_recorded", marker_id=marker_id)
        return marker_id
    return Installation.load().state_root_id


def _games_started_before() -> list[str]:
    ran = Runtime.objects.filter(started_at__isnull=False, game_id__in=_started_operations().values("game_id"))
    return list(ran.order_by("-last_op_at").values_list("game_id", flat=True))


def _started_operations() -> QuerySet[Operation]:
    return Operation.objects.filter(op_kind__in=CREATES_CONTAINER, outcome=Outcome.SUCCESS, error_code="")


def _difference(*, found: str, recorded: str) -> str:
    if not found:
        return f"has no marker file {MARKER_NAME}, so it is not the directory with the state of the games"
    return f"is the state root of another installation: its marker file has the id {found}, not {recorded}"


def _refused(root: str, reason: str) -> StartConfigInvalidError:
    return StartConfigInvalidError(f"RTMANAGER_GAME_STATE_ROOT ({root}) {reason}; {_mount_advice(root)}")


def _mount_advice(root: str) -> str:
    return (
        f"check that the right disk is mounted (findmnt -T {root}). If you moved, restored or replaced it on purpose, "
        "run on this host: manage.py accept_state_root"
    )
