"""Addresses under ``/api/v1/internal/`` about what came in and could not be read."""

from django.urls import path

from tasks.api.views import DeadLetterListView, DeadLetterView, RedriveView

urlpatterns = [
    path("dead-letters", DeadLetterListView.as_view(), name="dead-letter-list"),
    path("dead-letters/<str:letter_id>", DeadLetterView.as_view(), name="dead-letter"),
    path("dead-letters/<str:letter_id>/redrive", RedriveView.as_view(), name="dead-letter-redrive"),
]
