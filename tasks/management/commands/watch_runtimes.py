"""``manage.py watch_runtimes``: notices what happens to the games' containers, and whether the engines answer."""

from collections.abc import Sequence

from operations.reconciler import on_record, reconcile_games
from tasks.leadership import Leadership
from tasks.loops import Loop, LoopCommand
from tasks.prober import Prober
from tasks.probes import HttpProbes
from tasks.watcher import Watcher


class Command(LoopCommand):
    """Run the watcher and the prober. Start as many as you like: one of each works, the others stand by."""

    help = "Follow Docker's events and probe the engines, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        """The watcher and the prober."""
        return [
            Watcher(leadership=Leadership("watcher"), reconcile=reconcile_games, on_record=on_record),
            Prober(leadership=Leadership("prober"), probes=HttpProbes()),
        ]
