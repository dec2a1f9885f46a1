"""The examination of the installation over HTTP."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rtmanager.doctor.checks import Status
from rtmanager.doctor.examination import examine
from runtimes.api.base import ContractView
from runtimes.api.schema import ALWAYS, errors

_EXAMPLE: dict[str, Any] = {
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
    """One verdict; ``advice`` is empty when there is nothing to do."""

    name = serializers.CharField(read_only=True)
    status = serializers.ChoiceField(choices=list(Status), read_only=True)
    found = serializers.CharField(read_only=True)
    advice = serializers.CharField(read_only=True)


@extend_schema_serializer(component_name="Examination", examples=[OpenApiExample("doctor", value=_EXAMPLE)])
class ExaminationSerializer(serializers.Serializer[Any]):
    """Everything that was looked at."""

    checks = CheckSerializer(many=True, read_only=True)


class DoctorView(ContractView):
    """The doctor."""

    @extend_schema(
        operation_id="internalExamine",
        summary="Check every dependency and setting, with what to do about each",
        parameters=ALWAYS,
        responses={200: ExaminationSerializer, **errors()},
    )
    def get(self, _request: Request) -> Response:
        """Looks from the web process: what only workers see, like the state root, may be told as not to be seen.

        Always 200: what is wrong is in the answer. Takes some seconds when a server hangs.
        """
        return Response({"checks": [asdict(check) for check in examine()]})
