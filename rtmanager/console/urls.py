"""URLs of the console's own pages, below the admin's, each with the permission that it needs."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET

from rtmanager.console import badges, dashboard, game_page, views

app_name = "console"


def _page(permission: str, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    """A page for admin users who hold the permission; a visitor without a session goes to the login page."""

    def check(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return require_GET(view)(request, *args, **kwargs)

    return path(route, admin.site.admin_view(check), name=name)


urlpatterns = [
    _page("operations.view_operation", "dashboard/figures", dashboard.figures_view, "figures"),
    _page("operations.view_operation", "dashboard/servers", dashboard.servers_view, "servers"),
    _page("operations.view_operation", "progress/", views.progress_view, "progress"),
    _page("runtimes.view_runtime", "badges", badges.badges, "badges"),
    _page("runtimes.view_runtime", "games/<str:game_id>/", game_page.game_view, "game"),
    _page("runtimes.view_runtime", "games/<str:game_id>/state", game_page.state_view, "game-state"),
    _page("runtimes.view_runtime", "games/<str:game_id>/log", game_page.log_view, "game-log"),
    _page("runtimes.view_runtime", "games/<str:game_id>/stats", game_page.stats_view, "game-stats"),
    # Its permission depends on the action.
    path("actions/<str:name>/", admin.site.admin_view(views.action_view), name="action"),
]
