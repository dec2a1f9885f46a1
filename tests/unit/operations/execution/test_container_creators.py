"""Which container an operation has made: by id and job key, never by an id that a restored database gives out again."""

from datetime import UTC, datetime, timedelta

import pytest

from operations.execution.container_creators import Creator, creator_of, has_created
from operations.messages import epoch_ms
from operations.models import Operation
from operations.states import OperationKind, Outcome
from runtimes.container_spec import LABEL_GAME_ID, LABEL_JOB_KEY, LABEL_OPERATION_ID, LABEL_STARTED_AT_MS
from runtimes.containers.base import Container, ContainerState

STARTED = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def operation(**changes: object) -> Operation:
    fields = {"pk": 7, "game_id": "g1", "op_kind": OperationKind.START, "job_key": "rest:7", "started_at": STARTED}
    return Operation(**{**fields, **changes})


def container(container_id: str = "c1", *, state: str = "running", **labels: str) -> Container:
    said = {LABEL_GAME_ID: "g1", LABEL_OPERATION_ID: "7", **labels}
    return Container(container_id, "galaxy-game-g1", ContainerState(state), labels=said)


def of_job(job_key: str, container_id: str = "c1", *, state: str = "running") -> Container:
    return container(container_id, state=state, **{LABEL_JOB_KEY: job_key})


def before_job_keys(at: datetime) -> Container:
    return container(**{LABEL_STARTED_AT_MS: str(epoch_ms(at))})


def test_the_job_key_names_the_maker() -> None:
    assert has_created(operation(), of_job("rest:7"))


def test_an_operation_with_the_same_id_in_a_restored_database_is_another_one() -> None:
    assert not has_created(operation(job_key="rest:new"), of_job("rest:old"))


def test_the_recorded_id_is_enough() -> None:
    assert has_created(operation(container_id="c1"), of_job("anything"))
    assert not has_created(operation(container_id="c2"), of_job("anything"))


def test_no_recorded_id_matches_no_container() -> None:
    assert not has_created(operation(container_id=""), container(""))


def test_a_container_of_another_game_is_not_made_by_it() -> None:
    assert not has_created(operation(game_id="g2", container_id="c1"), of_job("rest:7"))


@pytest.mark.parametrize("kind", [OperationKind.STOP, OperationKind.RECONCILE_ADOPT, OperationKind.CLEANUP_CONTAINER])
def test_what_an_operation_only_touched_is_not_made_by_it(kind: OperationKind) -> None:
    assert not has_created(operation(op_kind=kind, container_id="c1"), of_job("rest:7"))


class TestBeforeJobKeys:
    """Containers of an earlier release have no such label."""

    def test_id_and_time_name_the_maker(self) -> None:
        assert has_created(operation(), before_job_keys(STARTED + timedelta(milliseconds=5)))

    def test_a_container_older_than_the_operation_is_of_another_database(self) -> None:
        assert not has_created(operation(), before_job_keys(STARTED - timedelta(milliseconds=5)))

    def test_a_container_younger_than_the_end_of_the_operation_is_of_another_database(self) -> None:
        ended = operation(finished_at=STARTED + timedelta(seconds=1))
        assert has_created(ended, before_job_keys(STARTED + timedelta(milliseconds=999)))
        assert not has_created(ended, before_job_keys(STARTED + timedelta(seconds=2)))

    @pytest.mark.parametrize("text", ["", "soon", "-1", "1" * 19])
    def test_a_label_that_is_no_time_names_no_operation(self, text: str) -> None:
        assert not has_created(operation(), container(**{LABEL_STARTED_AT_MS: text}))


class TestLeftBehind:
    FAILED = Creator(7, OperationKind.START, has_failed=True, container_id="c1")

    def test_the_recorded_container_of_a_failed_operation(self) -> None:
        assert self.FAILED.left_behind(of_job("rest:7"))
        assert self.FAILED.left_behind(of_job("rest:7", state="exited"))

    def test_not_a_copy_of_it_that_has_run(self) -> None:
        assert not self.FAILED.left_behind(of_job("rest:7", "c2"))
        assert not self.FAILED.left_behind(of_job("rest:7", "c2", state="exited"))

    def test_one_that_never_ran(self) -> None:
        assert self.FAILED.left_behind(of_job("rest:7", "c2", state="created"))

    def test_nothing_of_an_operation_that_succeeded(self) -> None:
        succeeded = creator_of(operation(outcome=Outcome.SUCCESS, container_id="c1"))
        assert not succeeded.left_behind(of_job("rest:7"))
        assert not succeeded.left_behind(of_job("rest:7", state="created"))

    def test_only_a_restart_or_a_patch_makes_a_replacement(self) -> None:
        makers = [Creator(7, kind, has_failed=True, container_id="c1") for kind in OperationKind]
        kinds = {maker.op_kind for maker in makers if maker.is_replacement(of_job("rest:7"))}
        assert kinds == {OperationKind.RESTART, OperationKind.PATCH}
