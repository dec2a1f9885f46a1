"""The Django application ``runtimes``."""

from django.apps import AppConfig


class RuntimesConfig(AppConfig):
    """The Django configuration of ``runtimes``."""

    name = "runtimes"
