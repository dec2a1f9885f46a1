"""``manage.py republish``: publishes events again that Redis has lost."""

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand

from operations import outbox
from operations.states import Topic
from runtimes.formatting import format_duration, parse_duration


class Command(BaseCommand):
    """Mark recent events as unpublished; the relay publishes them in order.

    Redis does not add an event twice, so a window that is too long does no harm.
    """

    help = "Publish the events of this period again, after Redis lost its data."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        how_far = f"how far back: 30m, 2h, 7d; events are kept for {format_duration(outbox.PUBLISHED_KEPT)}"
        parser.add_argument("--since", type=_duration, required=True, metavar="2h", help=how_far)
        parser.add_argument("--topic", choices=Topic.values, action="append", help="only this topic; may be repeated")
        parser.add_argument("--dry-run", action="store_true", help="only print how many events")

    def handle(self, *_args: Any, **options: Any) -> None:
        topics = [Topic(topic) for topic in options["topic"] or Topic.values]
        events = [event_id for event_id, _entry_id in outbox.published_since(topics, window=options["since"])]
        if not options["dry_run"]:
            outbox.publish_again(events)
        result = "would be published again" if options["dry_run"] else "will be published again by relay_events"
        self.stdout.write(f"{len(events)} events {result}")


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
