"""``manage.py watch_runtimes``: follows Docker's events of game containers, and probes the engines."""

from collections.abc import Sequence

from operations.reconcile.survey import already_recorded, reconcile_games
from tasks.loops.base import Loop, LoopCommand
from tasks.loops.http_probes import HttpProbes
from tasks.loops.prober import Prober
from tasks.loops.watcher import Watcher


class Command(LoopCommand):
    """Run the watcher and the prober. Start any number: one of each works, the others stand by."""

    help = "Follow Docker's events and probe the engines, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        return [Watcher(reconcile=reconcile_games, on_record=already_recorded), Prober(probes=HttpProbes())]
