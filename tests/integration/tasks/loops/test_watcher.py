"""From Docker's events to repairs and reports: real database, Docker in memory, workers moved by hand."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import pytest
from django.db.models.functions import Now

from operations import runner
from operations.models import Operation
from operations.reconcile.survey import already_recorded, reconcile_games
from operations.states import OPEN_STATES, OperationKind, OperationSource, OperationState, Outcome, Topic
from runtimes.containers.base import ContainersUnavailableError
from runtimes.containers.fake.adapter import FakeImage
from runtimes.models import Runtime
from tasks.loops.leader_election import LeaderElection
from tasks.loops.watcher import Watcher
from tests.integration.harness import OTHER_IMAGE, Rig, health_events, published
from tests.servers.waiting import wait_for


@dataclass
class Watch:
    """A watcher that the test steps, and the games that it had checked."""

    watcher: Watcher = field(init=False)
    asked: list[set[str] | None] = field(default_factory=list)
    looked_up: list[Mapping[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watcher = Watcher(
            leadership=LeaderElection("test-watcher"), reconcile=self._reconcile, on_record=self._on_record
        )

    def _reconcile(self, game_ids: Collection[str] | None) -> set[str]:
        self.asked.append(None if game_ids is None else set(game_ids))
        return reconcile_games(game_ids)

    def _on_record(self, started: Mapping[str, str]) -> set[str]:
        self.looked_up.append(started)
        return already_recorded(started)

    def step(self) -> None:
        """One pass, then let workers do what was asked for."""
        self.watcher.step()
        self.work()

    def after_a_step(self) -> Self:
        """Run one pass without a worker for the requested operations."""
        self.watcher.step()
        return self

    def work(self) -> None:
        for operation in Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE, state__in=OPEN_STATES):
            runner.run(operation.pk)

    def until_settled(self, game_id: str = "g1") -> None:
        """Step until the start of the running game is resolved; then forget the checks."""

        def look() -> bool:
            self.step()
            return any(game_id in one for one in self.looked_up)

        wait_for(look, what=f"a check of the record of {game_id}")
        self.asked.clear()

    def until_reported(self, *event_types: str) -> None:
        """Go on until exactly these events are queued after the start."""

        def look() -> bool:
            self.step()
            return len(health_events()) > len(event_types)

        wait_for(look, what=f"the events {event_types}")
        assert health_events()[1:] == list(event_types)


@pytest.fixture
def watch(rig: Rig) -> Iterator[Watch]:
    del rig
    watch = Watch()
    watch.step()
    watch.asked.clear()
    yield watch
    watch.watcher.close()


def status() -> str:
    return str(Runtime.objects.get(pk="g1").status)


def test_a_container_removed_externally_is_reported(rig: Rig, watch: Watch) -> None:
    rig.engine.remove_externally(rig.start().container_id)

    watch.until_reported("container_disappeared")

    assert status() == "removed"


def test_an_engine_that_exits_is_reported(rig: Rig, watch: Watch) -> None:
    rig.engine.exit(rig.start().container_id, exit_code=7)

    watch.until_reported("container_exited")

    assert published(Topic.HEALTH_EVENTS)[-1]["details"] == '{"exit_code":7,"oom":false}'
    assert status() == "stopped"


def test_an_engine_killed_by_the_kernel_is_reported_once(rig: Rig, watch: Watch) -> None:
    rig.engine.exit(rig.start().container_id, exit_code=137, oom_killed=True)

    watch.until_reported("container_oom", "container_exited")
    watch.step()

    assert health_events()[1:] == ["container_oom", "container_exited"]


def test_a_process_killed_in_a_running_container_is_reported_once(rig: Rig, watch: Watch) -> None:
    container_id = rig.start().container_id
    rig.engine.oom_kill_child(container_id)
    rig.engine.oom_kill_child(container_id)

    watch.until_reported("container_oom")

    assert published(Topic.HEALTH_EVENTS)[-1]["details"] == '{"exit_code":0}'
    assert status() == "running"


def test_a_stopped_game_started_by_hand_runs_again_on_record(rig: Rig, watch: Watch) -> None:
    container_id = rig.start().container_id
    rig.stop()
    watch.step()
    rig.engine.start(rig.engine.containers[container_id])

    def is_adopted() -> bool:
        watch.step()
        return status() == "running"

    wait_for(is_adopted, what="the adoption")
    assert status() == "running"


@pytest.mark.parametrize("verb", ["stop", "restart", "patch", "cleanup"])
def test_events_of_our_own_operations_are_not_reported(rig: Rig, watch: Watch, verb: str) -> None:
    rig.start()
    if verb == "cleanup":
        rig.stop()
    action = {"stop": rig.stop, "restart": rig.restart, "cleanup": rig.cleanup, "patch": lambda: rig.patch(OTHER_IMAGE)}
    reported = {"restart": 2, "patch": 2}.get(verb, 1)

    action[verb]()
    watch.step()
    watch.step()

    assert health_events() == ["container_started"] * reported
    assert not Operation.objects.filter(op_source=OperationSource.AUTO_RECONCILE).exists()


def test_events_during_an_operation_are_checked_again_after_it(rig: Rig, watch: Watch) -> None:
    container_id = rig.start().container_id
    replay = rig.ask_start()
    rig.engine.exit(container_id, exit_code=1)
    watch.step()
    reported_meanwhile = health_events()[1:]
    Operation.objects.filter(pk=replay.pk).delete()

    watch.until_reported("container_exited")

    assert reported_meanwhile == []


def test_our_own_start_is_found_in_the_record_without_a_docker_call(rig: Rig, watch: Watch) -> None:
    container_id = rig.start().container_id

    watch.step()

    looked_up_at_once = list(watch.looked_up)
    wait_for(lambda: watch.after_a_step().looked_up, what="a check of the record")
    watch.step()
    assert looked_up_at_once == []
    assert watch.looked_up == [{"g1": container_id}]
    assert watch.asked == []


def test_a_second_container_that_starts_beside_our_own_is_checked(rig: Rig, watch: Watch) -> None:
    spec = rig.engine.specs[rig.start().container_id]
    double = rig.engine.add(replace(spec, name="double"), image=FakeImage())
    rig.engine.start(rig.engine.containers[double])

    wait_for(lambda: watch.after_a_step().asked, what="a check of the game")

    assert watch.asked == [{"g1"}]
    assert watch.looked_up == []


def test_a_start_is_checked_again_until_its_operation_has_completed(rig: Rig, watch: Watch) -> None:
    start = rig.start()
    Runtime.objects.update(current_container_id="not written yet")
    Operation.objects.update(state=OperationState.ACCEPTED, outcome=None, finished_at=None)
    wait_for(lambda: watch.after_a_step().asked, what="a check of the busy game")
    Operation.objects.update(state=OperationState.FINISHED, outcome=Outcome.SUCCESS, finished_at=Now())
    Runtime.objects.update(current_container_id=start.container_id)
    watch.asked.clear()
    watch.looked_up.clear()

    wait_for(lambda: watch.after_a_step().looked_up, what="another look at the record")

    assert watch.looked_up == [{"g1": start.container_id}]
    assert watch.asked == []


def test_many_events_at_once_cause_one_check(rig: Rig, watch: Watch) -> None:
    started = [rig.start(f"g{number}").container_id for number in range(20)]
    for container_id in started:
        rig.engine.exit(container_id, exit_code=1)

    watch.watcher.step()

    assert watch.asked == [{f"g{number}" for number in range(20)}]
    assert Operation.objects.filter(op_kind=OperationKind.RECONCILE_EXIT).count() == 20


def test_a_broken_event_stream_is_resumed_and_nothing_is_reported_twice(rig: Rig, watch: Watch) -> None:
    rig.engine.exit(rig.start().container_id, exit_code=1)
    watch.until_reported("container_exited")
    rig.engine.end_subscriptions()
    with pytest.raises(ContainersUnavailableError):
        watch.watcher.step()
    watch.watcher.reset()
    watch.asked.clear()

    watch.step()

    assert watch.asked == [None]
    assert health_events()[1:] == ["container_exited"]


def test_changes_during_a_docker_outage_are_found_by_a_full_reconcile(rig: Rig, watch: Watch) -> None:
    container_id = rig.start().container_id
    watch.until_settled()
    rig.engine.disconnect()
    with pytest.raises(ContainersUnavailableError):
        watch.watcher.step()
    watch.watcher.reset()
    del rig.engine.containers[container_id]
    rig.engine.history.clear()
    rig.engine.reconnect()

    watch.until_reported("container_disappeared")


def test_no_conclusion_is_drawn_while_docker_is_unavailable(rig: Rig, watch: Watch) -> None:
    rig.start()
    watch.until_settled()
    rig.engine.disconnect()
    for _ in range(3):
        with pytest.raises(ContainersUnavailableError):
            watch.watcher.step()
        watch.watcher.reset()

    assert status() == "running"


def test_containers_without_a_game_are_ignored(rig: Rig, watch: Watch) -> None:
    container_id = rig.start().container_id
    watch.until_settled()
    container = rig.engine.containers[container_id]
    container.labels["com.galaxy.game_id"] = "../odd"  # type: ignore[index]
    rig.engine.oom_kill_child(container_id)
    rig.engine.exit(container_id, exit_code=1)

    watch.watcher.step()

    assert watch.asked == []


def test_only_the_leader_watches(rig: Rig, watch: Watch) -> None:
    rig.start()
    watch.until_settled()
    standby = Watch()
    watch.watcher.close()
    watch.step()

    watch.asked.clear()
    watch.step()

    assert watch.asked == []
    assert standby.asked == []
