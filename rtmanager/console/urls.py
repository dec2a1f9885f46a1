"""Addresses of the console's own pages, below the admin's."""

from django.contrib import admin
from django.urls import path

from rtmanager.console import badges, dashboard, feeds, pages
from rtmanager.console.guard import guarded

app_name = "console"

urlpatterns = [
    path("dashboard/figures", guarded("operations.view_operation")(dashboard.figures_view), name="figures"),
    path("dashboard/servers", guarded("operations.view_operation")(dashboard.servers_view), name="servers"),
    path("badges", badges.badges, name="badges"),
    path("games/<str:game_id>/", pages.game_page, name="game"),
    path("games/<str:game_id>/state", pages.game_state, name="game-state"),
    path("games/<str:game_id>/log", feeds.log, name="game-log"),
    path("games/<str:game_id>/stats", feeds.stats, name="game-stats"),
    path("deeds/<str:verb>/", admin.site.admin_view(pages.deed_page), name="deed"),
    path("progress/", pages.progress_page, name="progress"),
]
