"""``manage.py republish``: sends what a Redis has lost once more."""

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand

from operations import outbox
from operations.states import Topic
from rtmanager.durations import parse_duration


class Command(BaseCommand):
    """Mark recent events as unpublished; the relay takes them up in their order.

    What a Redis still knows is not added to it twice, so asking for too much does no harm.
    """

    help = "Publish again what was published since then; for a Redis that has lost its data."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The command line."""
        how_far = "how far back: 30m, 2h, 7d; events are kept for 30 days"
        parser.add_argument("--since", type=_duration, required=True, metavar="2h", help=how_far)
        parser.add_argument("--topic", choices=Topic.values, action="append", help="only this one; may be repeated")
        parser.add_argument("--dry-run", action="store_true", help="only say how many events that would be")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Say how many events are to be published again."""
        topics = [Topic(topic) for topic in options["topic"] or Topic.values]
        events = outbox.published_ids(window=options["since"], topics=topics)
        if not options["dry_run"]:
            outbox.publish_again(events)
        said = "would be published again" if options["dry_run"] else "will be published again by relay_events"
        self.stdout.write(f"{len(events)} events {said}")


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
