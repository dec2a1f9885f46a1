"""docs/asyncapi.yaml describes exactly what RTM reads and writes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from operations import outbox
from operations.intake import OperationRequest
from operations.messages import (
    HealthEvent,
    HealthEventType,
    StreamEntry,
    health_event_fields,
    job_parsers,
    parse_start_job,
    parse_stop_job,
)
from operations.models import Operation
from operations.outbox import Message
from operations.reconcile import survey
from operations.states import OPEN_STATES, StopReason, Topic
from rtmanager.config import Config
from runtimes.exceptions import ErrorCode, InvalidRequestError
from tasks.loops.bridge import JobBridge
from tasks.loops.leader_election import LeaderElection
from tasks.loops.relay import Relay, event_streams
from tasks.streams.redis.events import RedisEventStreams
from tasks.streams.redis.jobs import RedisJobStreams
from tests.integration import stream_document
from tests.integration.harness import IMAGE, Rig

DOCUMENT = stream_document.load()
MESSAGES = DOCUMENT["components"]["messages"]
WRITTEN = {
    "jobResults": Topic.JOB_RESULTS,
    "healthEvents": Topic.HEALTH_EVENTS,
    "notificationIntents": Topic.NOTIFICATION_INTENTS,
    "deadLetters": Topic.DEAD_LETTERS,
}
PARSERS: dict[str, Callable[[StreamEntry], OperationRequest]] = {"startJob": parse_start_job, "stopJob": parse_stop_job}
AT = "1795249800000"


def examples(key: str) -> list[pytest.ParameterSet]:
    return [
        pytest.param(message, one["payload"], id=f"{message}-{one.get('name', 'example')}")
        for message, content in MESSAGES.items()
        for one in content.get(key, [])
    ]


def is_taken(message: str, fields: dict[str, str]) -> bool:
    """Whether the parser of this job message reads a job from these fields."""
    with suppress(InvalidRequestError):
        return bool(PARSERS[message](StreamEntry("s", "1-0", fields)))
    return False


@dataclass
class Wire:
    """RTM between two ends of a real Redis: jobs go in as entries, and what is written comes back as entries."""

    rig: Rig
    client: Any
    url: str

    def send(self, stream: str, **fields: str | bytes) -> None:
        """Add an entry and let RTM do what follows from it."""
        self.client.xadd(stream, fields)
        parsers = job_parsers()
        streams = RedisJobStreams(self.url, names=list(parsers))
        JobBridge(streams, parsers=parsers, leadership=LeaderElection("test-bridge")).step()
        self.work()

    def work(self) -> None:
        for operation in Operation.objects.filter(state__in=OPEN_STATES).order_by("id"):
            self.rig.do(operation)

    def published(self) -> dict[str, list[dict[str, str]]]:
        """All entries of the four streams by channel, fields in the order in which they stand there."""
        Relay(RedisEventStreams(self.url), names=event_streams(), leadership=LeaderElection("test-relay")).step()
        return {
            channel: [
                {name.decode(): value.decode() for name, value in fields.items()}
                for _, fields in self.client.xrange(event_streams()[topic])
            ]
            for channel, topic in WRITTEN.items()
        }


@pytest.fixture
def wire(rig: Rig, redis_url: str) -> Iterator[Wire]:
    with redis.Redis.from_url(redis_url) as client:
        yield Wire(rig, client, redis_url)


def live_a_full_life(wire: Wire) -> None:
    """Everything that is written by doing: every result, every event of an operation, intents, dead letters."""
    start, stop = "runtime:start_jobs", "runtime:stop_jobs"
    for game_id in ("g1", "g1", "g2", "g3", "g4"):
        wire.send(start, game_id=game_id, image_ref=IMAGE, requested_at_ms=AT)
    wire.send(start, game_id="g1", image_ref="engine:other", requested_at_ms=AT)
    wire.send(start, game_id="g9", image_ref="no/such:image", requested_at_ms=AT)
    wire.send(start, game_id="g9", image_ref="NOT A REFERENCE", requested_at_ms=AT)
    wire.send(stop, game_id="g1", reason="cancelled", requested_at_ms=AT)
    wire.send(stop, game_id="g1", reason="cancelled", requested_at_ms=AT)
    wire.send(stop, game_id="unknown", reason="timeout", requested_at_ms=AT)
    wire.send(stop, game_id="g1", reason="boredom", requested_at_ms=AT)
    wire.send(start, game_id=b"\xff\x00", more="ä\n")
    for game_id, code, oom in (("g2", 3, False), ("g3", 137, True)):
        container = wire.rig.container(game_id)
        assert container is not None
        wire.rig.engine.exit(container.id, exit_code=code, oom_killed=oom)
    gone = wire.rig.container("g4")
    assert gone is not None
    del wire.rig.engine.containers[gone.id]
    survey.reconcile_all()
    wire.work()


def report_what_health_checks_see(game_id: str = "g1") -> None:
    """The events that come from watching, written by the one function that writes health events."""
    seen: dict[HealthEventType, dict[str, Any]] = {
        HealthEventType.INSPECT_UNHEALTHY: {"restart_count": 0, "state": "running", "health": "unhealthy"},
        HealthEventType.PROBE_FAILED: {"consecutive_failures": 3, "last_status": 0, "last_error": "refused"},
        HealthEventType.PROBE_RECOVERED: {"prior_failure_count": 3},
    }
    events = [HealthEvent(kind, "c" * 64, datetime.now(UTC), details) for kind, details in seen.items()]
    outbox.queue(
        [
            Message(Topic.HEALTH_EVENTS, event.dedupe_key, game_id, health_event_fields(game_id, event))
            for event in events
        ]
    )


def test_every_written_entry_is_exactly_one_documented_message_and_every_message_is_written(wire: Wire) -> None:
    live_a_full_life(wire)
    report_what_health_checks_see()

    written = wire.published()

    for channel, entries in written.items():
        kinds = [(fields, stream_document.matching(DOCUMENT, channel, fields)) for fields in entries]
        assert [fields for fields, names in kinds if len(names) != 1] == []
        assert {name for _, (name,) in kinds} == set(stream_document.message_names(DOCUMENT, channel))
        assert [
            fields for fields, (name,) in kinds if list(fields) != stream_document.field_order(DOCUMENT, name)
        ] == []


@pytest.mark.parametrize(("message", "fields"), examples("examples"))
def test_every_example_is_valid_for_its_message(message: str, fields: dict[str, str]) -> None:
    assert stream_document.objections(DOCUMENT, message, fields) == []
    assert message not in PARSERS or is_taken(message, fields)


@pytest.mark.parametrize(("message", "fields"), examples("x-counter-examples"))
def test_every_counter_example_is_refused_by_document_and_code(message: str, fields: dict[str, str]) -> None:
    assert stream_document.objections(DOCUMENT, message, fields) != []
    assert not is_taken(message, fields)


def test_every_message_has_an_example() -> None:
    assert [name for name, content in MESSAGES.items() if not content.get("examples")] == []


NEARLY = st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{1,53}\n?") | st.from_regex(r"[0-9]{1,17}")


@given(
    message=st.sampled_from(sorted(PARSERS)),
    fields=st.fixed_dictionaries(
        {},
        optional={
            "game_id": st.just("g-1") | NEARLY,
            "image_ref": st.just(IMAGE) | NEARLY,
            "reason": st.sampled_from(StopReason.values) | NEARLY,
            "requested_at_ms": st.just(AT) | NEARLY,
        },
    ),
)
def test_the_document_allows_every_entry_that_the_code_accepts(message: str, fields: dict[str, str]) -> None:
    assert not is_taken(message, fields) or stream_document.objections(DOCUMENT, message, fields) == []


def test_the_channels_are_the_streams_of_the_settings() -> None:
    config = Config.model_construct()
    names = {
        "startJobs": config.start_jobs_stream,
        "stopJobs": config.stop_jobs_stream,
        "jobResults": config.job_results_stream,
        "healthEvents": config.health_events_stream,
        "notificationIntents": config.notification_intents_stream,
        "deadLetters": config.dead_letters_stream,
    }

    assert {name: channel["address"] for name, channel in DOCUMENT["channels"].items()} == names


def test_the_directions_are_those_of_rtm() -> None:
    actions = {one["channel"]["$ref"].rpartition("/")[2]: one["action"] for one in DOCUMENT["operations"].values()}

    assert actions == {"startJobs": "receive", "stopJobs": "receive"} | dict.fromkeys(WRITTEN, "send")


def test_the_enums_are_those_of_the_code() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    events = [MESSAGES[name]["payload"]["properties"]["event_type"]["const"] for name in
              stream_document.message_names(DOCUMENT, "healthEvents")]  # fmt: skip

    assert MESSAGES["stopJob"]["payload"]["properties"]["reason"]["enum"] == StopReason.values
    assert schemas["errorCode"]["enum"] == [code.value for code in ErrorCode if code is not ErrorCode.REPLAY_NO_OP]
    assert events == [kind.value for kind in HealthEventType]
