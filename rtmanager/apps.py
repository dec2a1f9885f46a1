"""Registers ``rtmanager`` with Django."""

from django.apps import AppConfig

# Loaded with Django, so that every process sends messages to our broker and not to Celery's default one. It is not in
# the package itself, because the command line lives there too and must not load Celery.
from rtmanager.celery import app as celery_app

__all__ = ["RtmanagerConfig", "celery_app"]


class RtmanagerConfig(AppConfig):
    """The Django application ``rtmanager``."""

    name = "rtmanager"
