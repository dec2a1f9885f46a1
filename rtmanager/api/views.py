"""Health, metrics and the doctor. All but the doctor are public, because orchestrators have no tokens."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_serializer
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rtmanager.doctor.checks import Status
from rtmanager.doctor.run_checks import run_checks
from rtmanager.monitoring.metrics.gauges import render
from rtmanager.monitoring.snapshot import error_code_for, take_snapshot
from runtimes.api.base.exceptions import envelope
from runtimes.api.base.openapi import COMMON_PARAMETERS, ErrorSerializer, error_responses
from runtimes.api.base.views import ApiView

_CHECKS = {"database": "ok", "redis": "ok", "docker": "ok", "network": "ok"}
_COMPONENTS = dict.fromkeys(
    [
        "canary", "full_reconcile", "bridge", "sweeper", "relay", "watcher", "prober", "scheduler",
        "operations", "leases", "outbox", "streams",
    ],
    "ok",
)  # fmt: skip
_NO_NETWORK = 'Docker network "galaxy-net" does not exist; create it with: docker network create galaxy-net'


@extend_schema_serializer(component_name="Alive", examples=[OpenApiExample("alive", value={"status": "ok"})])
class AliveSerializer(serializers.Serializer[Any]):
    """The process responds."""

    status = serializers.CharField(read_only=True)


@extend_schema_serializer(
    component_name="Ready",
    examples=[OpenApiExample("ready", value={"status": "ready", "checks": _CHECKS, "components": _COMPONENTS})],
)
class ReadySerializer(serializers.Serializer[Any]):
    """Every dependency answers. ``components`` says whether each part of the service works: ``ok``, ``starting``,
    or what is wrong; they do not count for readiness.
    """

    status = serializers.CharField(read_only=True)
    checks = serializers.DictField(child=serializers.CharField(), read_only=True)
    components = serializers.DictField(child=serializers.CharField(), read_only=True)


@extend_schema_serializer(
    component_name="NotReady",
    examples=[
        OpenApiExample(
            "no network",
            status_codes=["503"],
            value={
                **envelope("docker_unavailable", f"network: {_NO_NETWORK}"),
                "status": "not_ready",
                "checks": {**_CHECKS, "network": _NO_NETWORK},
                "components": _COMPONENTS,
            },
        )
    ],
)
class NotReadySerializer(ReadySerializer):
    """At least one dependency does not; each check says ``ok`` or why not."""

    error = ErrorSerializer(read_only=True)


class PublicView(ApiView):
    """A view without authentication."""

    authentication_classes = []
    permission_classes = []


class HealthzView(PublicView):
    """Liveness."""

    @extend_schema(
        operation_id="internalHealthz",
        summary="Is the process alive?",
        tags=["health"],
        parameters=COMMON_PARAMETERS,
        responses=AliveSerializer,
    )
    def get(self, _request: Request) -> Response:
        """Check no dependency: a restart of this process would repair none of them."""
        return Response({"status": "ok"})


class ReadyzView(PublicView):
    """Readiness."""

    @extend_schema(
        operation_id="internalReadyz",
        summary="Can the service do its work?",
        tags=["health"],
        parameters=COMMON_PARAMETERS,
        responses={
            200: ReadySerializer,
            503: OpenApiResponse(NotReadySerializer, description="`service_unavailable`, `docker_unavailable`"),
        },
    )
    def get(self, _request: Request) -> Response:
        """Check the database, Redis, Docker and the game network, with a reason for each failure.

        The response also holds the status of each component, which does not affect the HTTP status: a stuck relay is
        no reason to take the API out of service.
        """
        snapshot = take_snapshot()
        details = {
            "checks": {name: reason or "ok" for name, reason in snapshot.reasons.items()},
            "components": {name: str(status) for name, status in snapshot.components.items()},
        }
        failed = [f"{name}: {reason}" for name, reason in snapshot.reasons.items() if name in snapshot.failed]
        if not failed:
            return Response({"status": "ready", **details})
        error = envelope(error_code_for(snapshot.failed), "; ".join(failed))
        return Response({**error, "status": "not_ready", **details}, status=HTTPStatus.SERVICE_UNAVAILABLE)


class MetricsView(PublicView):
    """The metrics page. It is not part of the REST contract, and so not in the OpenAPI document."""

    @extend_schema(exclude=True)
    def get(self, _request: Request) -> HttpResponse:
        """Query the same servers as readyz; always 200."""
        return HttpResponse(render(take_snapshot(for_metrics=True)), content_type=CONTENT_TYPE_PLAIN_0_0_4)


_DOCTOR: dict[str, Any] = {
    "checks": [
        {"name": "postgresql", "status": "ok", "found": "PostgreSQL 16.4", "advice": ""},
        {
            "name": "live restore",
            "status": "warning",
            "found": "off: a restart of Docker ends every game",
            "advice": 'Put {"live-restore": true} into /etc/docker/daemon.json and reload Docker.',
        },
    ]
}


class CheckSerializer(serializers.Serializer[Any]):
    """One result; ``advice`` is empty if no action is needed."""

    name = serializers.CharField(read_only=True)
    status = serializers.ChoiceField(choices=list(Status), read_only=True)
    found = serializers.CharField(read_only=True)
    advice = serializers.CharField(read_only=True)


@extend_schema_serializer(component_name="DoctorReport", examples=[OpenApiExample("doctor", value=_DOCTOR)])
class DoctorReportSerializer(serializers.Serializer[Any]):
    """The results of all checks."""

    checks = CheckSerializer(many=True, read_only=True)


class DoctorView(ApiView):
    """Checks of the whole installation."""

    @extend_schema(
        operation_id="internalRunDoctor",
        summary="Check every dependency and setting, with advice for each problem",
        parameters=COMMON_PARAMETERS,
        responses={200: DoctorReportSerializer, **error_responses()},
    )
    def get(self, _request: Request) -> Response:
        """Run the checks from the web process, which may not see everything that workers see, like the state root.

        Always 200: the response names the problems. Takes some seconds if a server hangs.
        """
        return Response({"checks": [asdict(check) for check in run_checks()]})
