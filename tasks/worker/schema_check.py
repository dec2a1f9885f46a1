"""A worker ends at its start if the tables of the database are not those of its version."""

import sys

from celery.signals import celeryd_init
from django.core.management.base import CommandError

from operations.installation.schema import refuse_unfit_schema


@celeryd_init.connect
def end_unless_fit(**_details: object) -> None:
    """Print one sentence and end with exit code 1. Celery ignores every other exception of a signal handler."""
    try:
        refuse_unfit_schema()
    except CommandError as error:
        sys.exit(f"rtmanager: {error}")
