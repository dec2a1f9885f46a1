"""The Django application ``runtimes``."""

from django.apps import AppConfig


class RuntimesConfig(AppConfig):
    """Registers ``runtimes`` with Django."""

    name = "runtimes"
