"""``manage.py ensure_admin``: creates the superuser of the settings."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError


class Command(BaseCommand):
    """Idempotent, also if several run at once. An existing account keeps its rights and its password.

    Warns of a password that Django's validators refuse. With RTMANAGER_PUBLIC_URL it raises CommandError for it, and
    creates no account.
    """

    help = "Create the superuser of RTMANAGER_ADMIN_BOOTSTRAP_USER unless an account of that name exists."

    def handle(self, *_args: Any, **_options: Any) -> None:
        username = settings.RTMANAGER.admin_bootstrap_user
        if not username:
            self.stdout.write("No admin created: RTMANAGER_ADMIN_BOOTSTRAP_USER is not set.")
        elif self._create_superuser(username, settings.RTMANAGER.admin_bootstrap_password.get_secret_value()):
            self.stdout.write(f"Created the admin {username!r}.")
        else:
            self.stdout.write(f"An account {username!r} exists already; nothing changed.")

    def _create_superuser(self, username: str, password: str) -> bool:
        users = get_user_model()._default_manager  # noqa: SLF001  # Django's documented way to the manager of a custom user model
        if users.filter(**{users.model.USERNAME_FIELD: username}).exists():
            return False
        self._check_password(username, password)
        try:
            users.create_superuser(username, password=password)
        except IntegrityError:
            return False
        return True

    def _check_password(self, username: str, password: str) -> None:
        try:
            validate_password(password, user=get_user_model()(username=username))
        except ValidationError as error:
            weakness = f"RTMANAGER_ADMIN_BOOTSTRAP_PASSWORD is too weak: {' '.join(error.messages)}"
            if settings.RTMANAGER.public_url:
                raise CommandError(f"No admin created: {weakness}") from None
            self.stderr.write(f"Warning: {weakness} Change it: manage.py changepassword {username}")
