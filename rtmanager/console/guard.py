"""Who gets to see a page of the console."""

from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

View = Callable[..., HttpResponse]


def guarded(permission: str) -> Callable[[View], View]:
    """Only for people of the admin who hold the permission; strangers are asked to sign in."""

    def guard(view: View) -> View:
        def look(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return cast("View", admin.site.admin_view(look))

    return guard
