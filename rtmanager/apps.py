"""The Django application ``rtmanager``."""

from django.apps import AppConfig


class RtmanagerConfig(AppConfig):
    """Registers ``rtmanager`` with Django."""

    name = "rtmanager"
