"""The Django application ``rtmanager``."""

from django.apps import AppConfig

# Loaded with Django, so that whoever sends a hint sends it to our broker and not to Celery's default one. Not in the
# package itself: the command line lives there too, and must not wait for libraries it does not use.
from rtmanager.celery import app as celery_app

__all__ = ["RtmanagerConfig", "celery_app"]


class RtmanagerConfig(AppConfig):
    """Registers ``rtmanager`` with Django."""

    name = "rtmanager"
