"""Addresses under ``/api/v1/internal/`` that read runtimes."""

from django.urls import path

from runtimes.api.views import RuntimeListView, RuntimeView

urlpatterns = [
    path("runtimes", RuntimeListView.as_view(), name="runtime-list"),
    path("runtimes/<str:game_id>", RuntimeView.as_view(), name="runtime"),
]
