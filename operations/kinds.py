"""The one table of operation kinds: what differs from kind to kind, as plain data.

Pure, and without Django: the command line uses it too.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is specific to one kind of operation. ``name``: its value in ``OperationKind``.

    ``handler``: dotted path of the function that runs it. ``task``: name of its Celery task.
    ``in_progress``: what explain says while it runs, after "Game g-42 ".

    The other fields matter for the kinds that a caller can request. ``verb``: its name in REST, CLI and console; empty
    if only the reconciler requests the kind. ``arguments``: the fields of its request. ``rest_method`` and
    ``rest_path``: its endpoint, below the path of the game. ``label`` and ``is_destructive``: its button in the
    console. ``summary`` and ``question``: the help of its CLI command, and what the command asks first.
    """

    name: str
    handler: str
    task: str
    in_progress: str
    creates_container: bool = False
    needs_record: bool = True
    verb: str = ""
    arguments: tuple[str, ...] = ()
    rest_method: str = "POST"
    rest_path: str = ""
    label: str = ""
    is_destructive: bool = False
    summary: str = ""
    question: str = ""

    @property
    def permission(self) -> str:
        """The permission that the console requires."""
        return f"runtimes.{self.verb}_runtime"


_REPAIR_IN_PROGRESS = "is being reconciled with Docker"

_KINDS = (
    Kind(
        name="start",
        handler="operations.actions.start.start",
        task="rtmanager.start_runtime",
        in_progress="is starting",
        creates_container=True,
        needs_record=False,
        verb="start",
        arguments=("image_ref", "no_start", "accept_empty_state"),
        rest_path="start",
        label="Start",
        summary="Start GAME on IMAGE. If GAME runs IMAGE already, no change is made.",
    ),
    Kind(
        name="stop",
        handler="operations.actions.stop.stop",
        task="rtmanager.stop_runtime",
        in_progress="is stopping",
        verb="stop",
        arguments=("reason",),
        rest_path="stop",
        label="Stop",
        is_destructive=True,
        summary="Stop GAME gracefully; kill it after the stop timeout. Its container and its state are kept.",
        question="Stop game {game}? Its players are disconnected.",
    ),
    Kind(
        name="restart",
        handler="operations.actions.replace.restart",
        task="rtmanager.restart_runtime",
        in_progress="is restarting",
        creates_container=True,
        verb="restart",
        arguments=("if_ended_by", "accept_empty_state"),
        rest_path="restart",
        label="Restart",
        is_destructive=True,
    ),
    Kind(
        name="patch",
        handler="operations.actions.replace.patch",
        task="rtmanager.patch_runtime",
        in_progress="is being patched",
        creates_container=True,
        verb="patch",
        arguments=("image_ref",),
        rest_path="patch",
        label="Patch",
        is_destructive=True,
        summary="Move GAME to IMAGE, another patch version. "
        "If the new version fails to start, the old one is restored.",
    ),
    Kind(
        name="cleanup_container",
        handler="operations.actions.stop.cleanup",
        task="rtmanager.cleanup_container",
        in_progress="is being cleaned up",
        verb="cleanup",
        rest_method="DELETE",
        rest_path="container",
        label="Clean up",
        is_destructive=True,
        summary="Remove the container of GAME, which must not be running. Its state directory stays.",
        question="Remove the container of game {game} and its logs? Its state directory stays.",
    ),
    Kind(
        name="reconcile_adopt",
        handler="operations.actions.reconcile.adopt",
        task="rtmanager.reconcile_adopt",
        in_progress=_REPAIR_IN_PROGRESS,
        needs_record=False,
    ),
    Kind(
        name="reconcile_dispose",
        handler="operations.actions.reconcile.dispose",
        task="rtmanager.reconcile_dispose",
        in_progress=_REPAIR_IN_PROGRESS,
        needs_record=False,
    ),
    Kind(
        name="reconcile_exit",
        handler="operations.actions.reconcile.observe_exit",
        task="rtmanager.reconcile_exit",
        in_progress=_REPAIR_IN_PROGRESS,
        needs_record=False,
    ),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
# Kinds that a caller can request, by verb, in the order of the buttons; the others are repairs of the reconciler.
REQUESTABLE: Mapping[str, Kind] = {kind.verb: kind for kind in _KINDS if kind.verb}
REPAIRS = frozenset(kind.name for kind in _KINDS if not kind.verb)
CREATES_CONTAINER = frozenset(kind.name for kind in _KINDS if kind.creates_container)
