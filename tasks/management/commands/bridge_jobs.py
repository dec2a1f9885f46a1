"""``manage.py bridge_jobs``: accepts jobs from the streams as operations, and notifies workers of unattended ones."""

from collections.abc import Sequence

from django.conf import settings

from operations.installation.identity import database_identity
from operations.messages import job_parsers
from tasks.loops.base import Loop, LoopCommand
from tasks.loops.bridge import JobBridge
from tasks.loops.sweeper import Sweeper
from tasks.streams.redis.jobs import RedisJobStreams


class Command(LoopCommand):
    """Run the bridge and the sweeper. Start any number: one works, the others stand by."""

    help = "Accept job stream entries as operations and notify the workers, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        parsers = job_parsers()
        streams = RedisJobStreams(settings.RTMANAGER.streams_url, names=list(parsers), identify=database_identity)
        return [JobBridge(streams, parsers=parsers), Sweeper()]
