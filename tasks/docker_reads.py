"""Reads of Docker that another process asks a worker for: the calls, their wire format, and the Celery task.

Only calls that change nothing exist here. A request is a Celery message that expires; the reply is one entry of a Redis
list that expires, so a read whose reader has gone leaves nothing behind.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from celery import shared_task
from pydantic import BaseModel, TypeAdapter, ValidationError, validate_call

from runtimes.containers import connect as connect_docker
from runtimes.containers.base import (
    Container,
    ContainerDetails,
    ContainersUnavailableError,
    DockerPort,
    DockerRefusedError,
    Image,
    NoSuchContainerError,
)
from runtimes.containers.refusals import Refusal
from runtimes.containers.types import (
    ContainerStats,
    DockerInfo,
    HostCapacity,
    LogLine,
    LogsNotAvailableError,
    NotRunningError,
)
from runtimes.exceptions import RuntimeManagerError
from tasks.streams.base import StreamRefusedError, StreamsUnavailableError
from tasks.streams.redis.replies import RedisReplies

log = structlog.get_logger(__name__)

TASK_NAME: Final = "rtmanager.read_docker"

# Method of the port → type of its result.
READS: Mapping[str, TypeAdapter[Any]] = {
    "ping": TypeAdapter(None),
    "docker_info": TypeAdapter(DockerInfo),
    "daemon_started_at": TypeAdapter(datetime | None),
    "host_capacity": TypeAdapter(HostCapacity | None),
    "network_exists": TypeAdapter(bool),
    "find": TypeAdapter(Container | None),
    "list_by_ids": TypeAdapter(list[Container]),
    "list_owned": TypeAdapter(list[Container]),
    "inspect": TypeAdapter(ContainerDetails),
    "logs": TypeAdapter(Sequence[LogLine]),
    "stats": TypeAdapter(ContainerStats),
    "find_image": TypeAdapter(Image | None),
}
_ERRORS: Mapping[str, type[RuntimeManagerError]] = {
    error.__name__: error
    for error in (
        ContainersUnavailableError, DockerRefusedError, NoSuchContainerError, LogsNotAvailableError, NotRunningError,
    )
}  # fmt: skip


class Reply(BaseModel):
    """The result of one read as JSON text, or its error."""

    result: str = "null"
    error: str = ""
    message: str = ""
    refusal: Refusal | None = None


def perform(docker: DockerPort, method: str, arguments: Mapping[str, Any], *, seconds: float) -> Reply:
    """Call the method. Never raises; every error of the port becomes a reply."""
    if method not in READS:
        return Reply(error=DockerRefusedError.__name__, message=f"{method!r} is not a read", refusal=Refusal.OTHER)
    try:
        with docker.time_limit(seconds):
            # JSON has no times: the annotations of the method say which arguments are.
            result = validate_call(getattr(docker, method))(**arguments)
    except RuntimeManagerError as error:
        # A kind that the list does not have counts as "unknown", like no answer.
        return Reply(error=type(error).__name__, message=error.message, refusal=getattr(error, "refusal", None))
    except ValidationError as error:
        return Reply(error=DockerRefusedError.__name__, message=f"{method}: {error}", refusal=Refusal.OTHER)
    return Reply(result=READS[method].dump_json(result).decode())


def result_of(reply: Reply, method: str) -> Any:
    """Return the result of a reply to this method, or raise its error."""
    if not reply.error:
        return READS[method].validate_json(reply.result)
    kind = _ERRORS.get(reply.error, ContainersUnavailableError)
    if kind is DockerRefusedError:
        raise DockerRefusedError(reply.message, reply.refusal or Refusal.OTHER)
    raise kind(reply.message)


@shared_task(name=TASK_NAME, ignore_result=True)
def read_docker(read_id: str, method: str, arguments: dict[str, Any], seconds: float) -> None:
    """Perform one read in at most these seconds, and send the reply."""
    answer(connect_docker(), read_id, method, arguments, seconds)


def answer(docker: DockerPort, read_id: str, method: str, arguments: Mapping[str, Any], seconds: float) -> None:
    """Perform one read and send the reply. If Redis does not take it, the read stays without an answer."""
    reply = perform(docker, method, arguments, seconds=seconds)
    try:
        RedisReplies().send(read_id, reply.model_dump_json())
    except (StreamsUnavailableError, StreamRefusedError) as error:
        log.warning("read_not_answered", method=method, reason=error.message)
