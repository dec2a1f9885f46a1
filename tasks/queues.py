"""What waits in Celery's queues, of all of them."""

from collections.abc import Mapping

from celery import current_app
from django.conf import settings

from operations.dispatch import LIFECYCLE_QUEUE
from tasks.watchdog import waiting_messages


def messages_by_queue() -> Mapping[str, int]:
    """How many messages nobody has taken yet; empty when the broker does not say."""
    return waiting_messages(current_app, (LIFECYCLE_QUEUE, settings.CELERY_TASK_DEFAULT_QUEUE))
