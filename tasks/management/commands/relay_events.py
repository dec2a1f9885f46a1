"""``manage.py relay_events``: publishes results, health events, intents and dead letters to their streams."""

from collections.abc import Sequence

from django.conf import settings

from tasks.leadership import Leadership
from tasks.loops import Loop, LoopCommand
from tasks.relay import Relay, event_streams
from tasks.streams.redis import RedisEventStreams


class Command(LoopCommand):
    """Run the relay. Start as many as you like: one works, the others stand by."""

    help = "Publish queued events to their streams, exactly once and in order, until SIGTERM."

    def loops(self) -> Sequence[Loop]:
        """The relay."""
        streams = RedisEventStreams(settings.RTMANAGER.streams_url)
        return [Relay(streams, names=event_streams(), leadership=Leadership("relay"))]
