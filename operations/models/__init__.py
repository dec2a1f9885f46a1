"""The tables of operations: the queue, the outbox, and what RTM knows about containers and components."""

from operations.models.docker import DaemonRun, ExitReport, ImagePull
from operations.models.messages import DeadLetter, OutboxEvent
from operations.models.monitoring import CounterIncrement, Heartbeat, MetricCounter
from operations.models.operation import IdempotencyKey, Operation

__all__ = [
    "CounterIncrement",
    "DaemonRun",
    "DeadLetter",
    "ExitReport",
    "Heartbeat",
    "IdempotencyKey",
    "ImagePull",
    "MetricCounter",
    "Operation",
    "OutboxEvent",
]
