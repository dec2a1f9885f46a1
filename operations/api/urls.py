"""Addresses under ``/api/v1/internal/`` that do something to a runtime or tell what was done."""

from django.urls import path

from operations.api.black_boxes import BlackBoxListView, BlackBoxView
from operations.api.events import EventListView
from operations.api.explain import ExplainView
from operations.api.verbs import CleanupView, PatchView, RestartView, StartView, StopView
from operations.api.views import AllOperationsView, OperationListView, OperationView

urlpatterns = [
    path("runtimes/<str:game_id>/start", StartView.as_view(), name="runtime-start"),
    path("runtimes/<str:game_id>/stop", StopView.as_view(), name="runtime-stop"),
    path("runtimes/<str:game_id>/restart", RestartView.as_view(), name="runtime-restart"),
    path("runtimes/<str:game_id>/patch", PatchView.as_view(), name="runtime-patch"),
    path("runtimes/<str:game_id>/container", CleanupView.as_view(), name="runtime-container"),
    path("runtimes/<str:game_id>/operations", OperationListView.as_view(), name="runtime-operations"),
    path("runtimes/<str:game_id>/black-boxes", BlackBoxListView.as_view(), name="runtime-black-boxes"),
    path("black-boxes/<str:box_id>", BlackBoxView.as_view(), name="black-box"),
    path("runtimes/<str:game_id>/explain", ExplainView.as_view(), name="runtime-explain"),
    path("operations", AllOperationsView.as_view(), name="operation-list"),
    path("operations/<str:operation_id>", OperationView.as_view(), name="operation"),
    path("events", EventListView.as_view(), name="event-list"),
]
