"""``manage.py ensure_admin``: creates the superuser of the settings."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import IntegrityError


class Command(BaseCommand):
    """Idempotent, also if several run at once. An existing account keeps its rights and its password."""

    help = "Create the superuser of RTMANAGER_ADMIN_BOOTSTRAP_USER unless an account of that name exists."

    def handle(self, *_args: Any, **_options: Any) -> None:
        username = settings.RTMANAGER.admin_bootstrap_user
        if not username:
            self.stdout.write("No admin created: RTMANAGER_ADMIN_BOOTSTRAP_USER is not set.")
        elif _create_superuser(username, settings.RTMANAGER.admin_bootstrap_password.get_secret_value()):
            self.stdout.write(f"Created the admin {username!r}.")
        else:
            self.stdout.write(f"An account {username!r} exists already; nothing changed.")


def _create_superuser(username: str, password: str) -> bool:
    users = get_user_model()._default_manager  # noqa: SLF001  # Django's documented way to the manager of a custom user model
    if users.filter(**{users.model.USERNAME_FIELD: username}).exists():
        return False
    try:
        users.create_superuser(username, password=password)
    except IntegrityError:
        return False
    return True
