"""URLs under ``/api/v1/internal/`` that read runtimes."""

from django.urls import path

from runtimes.api.containers import LogsView, StatsView
from runtimes.api.views import RuntimeListView, RuntimeView

urlpatterns = [
    path("runtimes", RuntimeListView.as_view(), name="runtime-list"),
    path("runtimes/<str:game_id>", RuntimeView.as_view(), name="runtime"),
    path("runtimes/<str:game_id>/logs", LogsView.as_view(), name="runtime-logs"),
    path("runtimes/<str:game_id>/stats", StatsView.as_view(), name="runtime-stats"),
]
