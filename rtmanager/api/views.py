"""Is the process alive, and can the service work? Both stay open to everybody: orchestrators have no tokens."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rtmanager.api.observation import observe
from rtmanager.api.readiness import code_of
from runtimes.api.base import ContractView
from runtimes.api.errors import envelope
from runtimes.api.schema import ALWAYS, ErrorSerializer

_CHECKS = {"database": "ok", "redis": "ok", "docker": "ok", "network": "ok"}
_VITALS = dict.fromkeys(
    [
        "canary", "relist", "bridge", "sweeper", "relay", "watcher", "prober", "clock",
        "operations", "leases", "outbox", "streams",
    ],
    "ok",
)  # fmt: skip
_NO_NETWORK = 'Docker network "galaxy-net" does not exist; create it with: docker network create galaxy-net'


@extend_schema_serializer(component_name="Alive", examples=[OpenApiExample("alive", value={"status": "ok"})])
class AliveSerializer(serializers.Serializer[Any]):
    """The process answers."""

    status = serializers.CharField(read_only=True)


@extend_schema_serializer(
    component_name="Ready",
    examples=[OpenApiExample("ready", value={"status": "ready", "checks": _CHECKS, "vitals": _VITALS})],
)
class ReadySerializer(serializers.Serializer[Any]):
    """Every dependency answers. ``vitals`` say whether the parts of the service do their work: ``ok``, ``starting``,
    or what is wrong; they do not count for readiness.
    """

    status = serializers.CharField(read_only=True)
    checks = serializers.DictField(child=serializers.CharField(), read_only=True)
    vitals = serializers.DictField(child=serializers.CharField(), read_only=True)


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
                "vitals": _VITALS,
            },
        )
    ],
)
class NotReadySerializer(ReadySerializer):
    """At least one dependency does not; each check says ``ok`` or why not."""

    error = ErrorSerializer(read_only=True)


class PublicView(ContractView):
    """A view that asks nobody who they are."""

    authentication_classes = []
    permission_classes = []


class HealthzView(PublicView):
    """Liveness."""

    @extend_schema(
        operation_id="internalHealthz",
        summary="Is the process alive?",
        tags=["health"],
        parameters=ALWAYS,
        responses=AliveSerializer,
    )
    def get(self, _request: Request) -> Response:
        """Touches no dependency: a restart of this process would repair none of them."""
        return Response({"status": "ok"})


class ReadyzView(PublicView):
    """Readiness."""

    @extend_schema(
        operation_id="internalReadyz",
        summary="Can the service do its work?",
        tags=["health"],
        parameters=ALWAYS,
        responses={
            200: ReadySerializer,
            503: OpenApiResponse(NotReadySerializer, description="`service_unavailable`, `docker_unavailable`"),
        },
    )
    def get(self, _request: Request) -> Response:
        """Looks at the database, Redis, Docker and the game network, with a reason for each that fails.

        Beside them it tells whether the parts of the service do their work. That does not change the answer's status:
        a stuck relay is no reason to take the API out of service.
        """
        seen = observe()
        reasons = seen.reasons
        checks = {name: reason or "ok" for name, reason in reasons.items()}
        failed = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
        if not failed:
            return Response({"status": "ready", "checks": checks, "vitals": seen.verdicts})
        body = {
            **envelope(code_of(reasons), "; ".join(failed)),
            "status": "not_ready",
            "checks": checks,
            "vitals": seen.verdicts,
        }
        return Response(body, status=HTTPStatus.SERVICE_UNAVAILABLE)
