"""``manage.py bridge_jobs``: takes jobs from the streams over as operations and keeps lost ones moving."""

from collections.abc import Sequence

from django.conf import settings

from tasks.bridge import JobBridge, Sweeper, job_parsers
from tasks.leadership import Leadership
from tasks.loops import Loop, LoopCommand
from tasks.streams.redis import RedisJobStreams


class Command(LoopCommand):
    """Run the job bridge and the sweeper. Start as many as you like: one works, the others stand by."""

    help = "Turn job stream entries into operations and hint them to the workers, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        """The bridge and the sweeper."""
        parsers = job_parsers()
        streams = RedisJobStreams(settings.RTMANAGER.streams_url, names=list(parsers))
        return [
            JobBridge(streams, parsers=parsers, leadership=Leadership("bridge")),
            Sweeper(leadership=Leadership("sweeper")),
        ]
