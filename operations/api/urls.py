"""URLs under ``/api/v1/internal/`` for operations and their records."""

from django.urls import path

from operations.api.actions import ACTION_VIEWS
from operations.api.dead_letters import DeadLetterListView, DeadLetterView, RedriveView
from operations.api.events import EventListView
from operations.api.exit_reports import ExitReportListView, ExitReportView
from operations.api.explain import ExplainView
from operations.api.views import AllOperationsView, OperationListView, OperationView
from operations.kinds import REQUESTABLE

urlpatterns = [
    *(
        path(
            f"runtimes/<str:game_id>/{kind.rest_path}",
            ACTION_VIEWS[kind.name].as_view(),
            name=f"runtime-{kind.rest_path}",
        )
        for kind in REQUESTABLE.values()
    ),
    path("runtimes/<str:game_id>/operations", OperationListView.as_view(), name="runtime-operations"),
    path("runtimes/<str:game_id>/exit-reports", ExitReportListView.as_view(), name="runtime-exit-reports"),
    path("exit-reports/<str:report_id>", ExitReportView.as_view(), name="exit-report"),
    path("runtimes/<str:game_id>/explain", ExplainView.as_view(), name="runtime-explain"),
    path("operations", AllOperationsView.as_view(), name="operation-list"),
    path("operations/<str:operation_id>", OperationView.as_view(), name="operation"),
    path("events", EventListView.as_view(), name="event-list"),
    path("dead-letters", DeadLetterListView.as_view(), name="dead-letter-list"),
    path("dead-letters/<str:dead_letter_id>", DeadLetterView.as_view(), name="dead-letter"),
    path("dead-letters/<str:dead_letter_id>/redrive", RedriveView.as_view(), name="dead-letter-redrive"),
]
