"""The Django application ``tasks``."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    """Registers ``tasks`` with Django."""

    name = "tasks"
