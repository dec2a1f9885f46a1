"""The form of the sign-in page, and the page of an attempt that is refused because too many have failed."""

import math
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.forms import AuthenticationForm

from rtmanager.http.error_handlers import console_message
from rtmanager.http.sign_in import locked_until


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # django-unfold brings no types
    """django-unfold's form. An account without staff status fails to sign in, like one with a wrong password."""

    def confirm_login_allowed(self, user: User) -> None:
        try:
            super().confirm_login_allowed(user)
        except ValidationError:
            # Django reports only a wrong password. Without this, the right one would neither count nor be logged.
            credentials = {"username": user.get_username()}
            user_login_failed.send(sender=__name__, credentials=credentials, request=self.request)
            raise


def render_locked(
    request: HttpRequest, _response: HttpResponse, credentials: Mapping[str, Any] | None = None
) -> HttpResponse:
    """The answer 429 to an attempt that is refused, and to the failure that was the last one allowed.

    ``AXES_LOCKOUT_CALLABLE``; ``_response`` is the one that it replaces.
    """
    now = timezone.now()
    # The page shows whole seconds: the next one, at which an attempt is allowed for sure.
    until = (locked_until(request, credentials) or now).replace(microsecond=0) + timedelta(seconds=1)
    response = console_message(
        request,
        "Too many failed attempts",
        "The sign-in from your address is locked. Until it is unlocked, the correct password is refused too.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        until=until,
    )
    response["Retry-After"] = str(math.ceil((until - now).total_seconds()))
    return response
