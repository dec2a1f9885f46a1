"""``manage.py ensure_admin``: the superuser of the settings exists."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import IntegrityError


class Command(BaseCommand):
    """Idempotent, also when several run at once. An existing account is never touched, nor its password reset."""

    help = "Make the superuser named by RTMANAGER_ADMIN_BOOTSTRAP_USER unless there is an account of that name."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Make the account, or say why there was nothing to make."""
        username = settings.RTMANAGER.admin_bootstrap_user
        if not username:
            self.stdout.write("No admin made: RTMANAGER_ADMIN_BOOTSTRAP_USER is not set.")
        elif _make_superuser(username, settings.RTMANAGER.admin_bootstrap_password.get_secret_value()):
            self.stdout.write(f"Made the admin {username!r}.")
        else:
            self.stdout.write(f"An account {username!r} exists already: left as it is.")


def _make_superuser(username: str, password: str) -> bool:
    users = get_user_model()._default_manager  # noqa: SLF001  # Django's public way to a swapped user model's manager
    if users.filter(**{users.model.USERNAME_FIELD: username}).exists():
        return False
    try:
        users.create_superuser(username, password=password)
    except IntegrityError:
        return False
    return True
