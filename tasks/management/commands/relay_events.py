"""``manage.py relay_events``: publishes results, health events, intents and dead letters to their streams."""

from collections.abc import Sequence

from django.conf import settings

from tasks.loops.base import Loop, LoopCommand
from tasks.loops.relay import Relay, event_streams
from tasks.streams.redis.events import RedisEventStreams


class Command(LoopCommand):
    """Run the relay. Start any number: one works, the others stand by."""

    help = "Publish queued events to their streams, exactly once and in order, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        return [Relay(RedisEventStreams(settings.RTMANAGER.streams_url), names=event_streams())]
