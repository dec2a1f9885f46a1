"""The promises of the event feed, held by both adapters."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from ipaddress import ip_address

import pytest

from runtimes.container_spec import LABEL_STACK
from runtimes.containers.base import ContainerEvent, ContainersUnavailableError, EventAction
from runtimes.containers.types import Feed
from tests.contract.container_backends import Lab
from tests.servers.waiting import wait_for


class Listener:
    """Collects what a feed says."""

    def __init__(self, lab: Lab, *, since_ns: int | None = None) -> None:
        self.feed: Feed[ContainerEvent] = lab.containers.events(
            lab.stack, since_ns=time.time_ns() if since_ns is None else since_ns
        )
        self.heard: list[ContainerEvent] = []

    def actions(self) -> list[str]:
        return [event.action for event in self.heard]

    def hear(self, *actions: EventAction) -> None:
        """Read until exactly these were heard, in order."""

        def look() -> bool:
            self.heard += self.feed.read(0.2)
            return len(self.heard) >= len(actions)

        wait_for(look, what=f"the events {actions}")
        assert self.actions() == list(actions)


@pytest.fixture
def listener(lab: Lab) -> Iterator[Listener]:
    listener = Listener(lab)
    with closing(listener.feed):
        yield listener


def test_the_events_of_a_container_arrive_in_order(lab: Lab, listener: Listener) -> None:
    container_id = lab.run()
    lab.containers.stop(container_id, grace_seconds=1)
    lab.containers.remove(container_id, grace_seconds=1)

    listener.hear(EventAction.START, EventAction.DIE, EventAction.DESTROY)

    assert {event.container_id for event in listener.heard} == {container_id}
    assert [event.time_ns for event in listener.heard] == sorted(event.time_ns for event in listener.heard)


def test_an_event_names_its_game(lab: Lab, listener: Listener) -> None:
    spec = lab.spec(game_id=f"{lab.game_id_prefix}-named")
    lab.containers.start(lab.containers.create(spec))

    listener.hear(EventAction.START)

    assert listener.heard[0].game_id == f"{lab.game_id_prefix}-named"


def test_removing_a_running_container_reports_its_exit_first(lab: Lab, listener: Listener) -> None:
    lab.containers.remove(lab.run(), grace_seconds=1)

    listener.hear(EventAction.START, EventAction.DIE, EventAction.DESTROY)


def test_what_happens_in_another_stack_is_not_heard(lab: Lab, listener: Listener) -> None:
    spec = lab.spec()
    foreign_id = lab.direct.create(replace(spec, labels={**spec.labels, LABEL_STACK: f"{lab.stack}-other"}))
    lab.direct.start(foreign_id)
    lab.direct.remove(foreign_id, grace_seconds=1)
    lab.run()

    listener.hear(EventAction.START)


def test_a_feed_with_an_earlier_start_includes_past_events(lab: Lab) -> None:
    began = time.time_ns()
    lab.run()

    late = Listener(lab, since_ns=began)

    with closing(late.feed):
        late.hear(EventAction.START)
    again = Listener(lab, since_ns=late.heard[0].time_ns)
    with closing(again.feed):
        again.hear(EventAction.START)
    assert again.heard == late.heard


def test_a_read_without_events_ends_in_time(listener: Listener) -> None:
    began = time.monotonic()

    assert listener.feed.read(0.1) == []

    assert time.monotonic() - began < 1


def test_closing_from_another_thread_ends_a_read(lab: Lab) -> None:
    feed = lab.containers.events(lab.stack, since_ns=time.time_ns())
    ended = threading.Event()

    def read_to_the_end() -> None:
        with suppress(ContainersUnavailableError):
            while True:
                feed.read(0.2)
        ended.set()

    threading.Thread(target=read_to_the_end, daemon=True).start()
    feed.close()

    assert ended.wait(10)
    feed.close()


def test_a_container_has_an_address_in_its_network_while_it_runs(lab: Lab) -> None:
    container_id = lab.run()
    running, listed = lab.containers.find(container_id), lab.containers.list_owned(lab.stack)[0]
    lab.containers.stop(container_id, grace_seconds=1)
    stopped = lab.containers.find(container_id)

    assert running is not None
    assert stopped is not None
    assert ip_address(running.addresses[lab.network])
    assert listed.addresses == running.addresses
    assert stopped.addresses == {}
