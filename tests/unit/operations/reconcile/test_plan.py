"""The plan for every combination of records and containers."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.execution.container_creators import Creator
from operations.reconcile.plan import Finding, Recorded, plan, refuse_taken_host_names
from operations.states import OperationKind
from runtimes.container_spec import LABEL_GAME_ID, LABEL_JOB_KEY, container_name
from runtimes.containers.base import Container, ContainerState
from runtimes.states import RuntimeStatus

# What the labels of a container name: a failed start that recorded this container or another one, or a successful one.
CREATORS = {
    "failed": Creator(7, OperationKind.START, has_failed=True, container_id="c1"),
    "copied": Creator(8, OperationKind.START, has_failed=True, container_id="of the original"),
    "succeeded": Creator(9, OperationKind.START, has_failed=False, container_id="c1"),
}


def container(
    container_id: str = "c1", *, game_id: str = "g1", state: str = "running", job_key: str = "", name: str = ""
) -> Container:
    return Container(
        id=container_id,
        name=name or f"galaxy-game-{game_id}",
        state=ContainerState(state),
        labels={LABEL_GAME_ID: game_id, LABEL_JOB_KEY: job_key},
    )


def recorded(status: str, container_id: str | None = "c1", *, game_id: str = "g1") -> dict[str, Recorded]:
    return {game_id: Recorded(game_id, RuntimeStatus(status), container_id, fence=5)}


def creators_of(observed: Sequence[Container]) -> dict[str, Creator]:
    return {container.id: CREATORS[container.job_key] for container in observed if container.job_key in CREATORS}


def found(records: dict[str, Recorded], *observed: Container, busy: Sequence[str] = ()) -> list[tuple[str, str]]:
    findings = plan(records, observed, busy=busy, creators=creators_of(observed))
    return [(str(finding.op_kind), finding.container_id) for finding in findings]


def test_a_record_that_agrees_with_docker_gives_no_finding() -> None:
    assert found(recorded("running"), container()) == []
    assert found(recorded("stopped"), container(state="exited")) == []
    assert found(recorded("stopped"), container(state="created")) == []
    assert found(recorded("removed", None)) == []
    assert found({}) == []


def test_a_live_container_without_a_record_is_adopted() -> None:
    assert found({}, container()) == [("reconcile_adopt", "c1")]


def test_a_dead_container_without_a_record_is_ignored() -> None:
    assert found({}, container(state="exited")) == []


def test_a_running_record_without_a_container_is_disposed_of() -> None:
    assert found(recorded("running")) == [("reconcile_dispose", "c1")]


def test_a_stopped_record_without_a_container_is_disposed_of() -> None:
    assert found(recorded("stopped")) == [("reconcile_dispose", "c1")]


def test_a_running_record_whose_container_has_exited_is_an_observed_exit() -> None:
    assert found(recorded("running"), container(state="exited")) == [("reconcile_exit", "c1")]


def test_a_stopped_record_whose_container_runs_is_adopted() -> None:
    assert found(recorded("stopped"), container()) == [("reconcile_adopt", "c1")]


def test_a_container_that_replaced_the_recorded_one_is_adopted() -> None:
    assert found(recorded("running"), container("c2")) == [("reconcile_adopt", "c2")]


def test_a_container_that_a_failed_operation_recorded_and_left_behind_is_removed() -> None:
    assert found({}, container(job_key="failed")) == [("reconcile_dispose", "c1")]
    assert found({}, container(job_key="failed", state="exited")) == [("reconcile_dispose", "c1")]


def test_a_container_that_never_started_and_names_a_failed_operation_is_removed() -> None:
    assert found({}, container(job_key="copied", state="created")) == [("reconcile_dispose", "c1")]


def test_a_copy_of_the_container_of_a_failed_operation_is_no_leftover() -> None:
    assert found({}, container(job_key="copied")) == [("reconcile_adopt", "c1")]
    assert found({}, container(job_key="copied", state="exited")) == []


@pytest.mark.parametrize("state", ["running", "exited", "created"])
def test_the_container_of_a_successful_operation_is_never_removed(state: str) -> None:
    beside = container("c2", job_key="succeeded", state=state, name="beside")

    assert "reconcile_dispose" not in dict(found(recorded("running"), container(), beside))


def test_a_container_recreated_under_the_games_name_is_adopted() -> None:
    assert found(recorded("stopped"), container("c2", job_key="succeeded")) == [("reconcile_adopt", "c2")]
    assert found(recorded("running"), container("c2", job_key="copied")) == [("reconcile_adopt", "c2")]


def test_an_adopted_game_keeps_the_container_name_of_its_endpoint() -> None:
    known = {"g1": Recorded("g1", RuntimeStatus.RUNNING, "c1", 5, "http://by-hand:8080")}

    assert found(known, container("c2", name="by-hand")) == [("reconcile_adopt", "c2")]


def test_a_live_container_with_another_name_is_no_successor() -> None:
    assert found(recorded("running"), container("c2", name="beside")) == [("reconcile_dispose", "c1"), ("None", "c2")]


def test_without_a_record_the_container_under_the_games_name_is_preferred() -> None:
    observed = [container("a", name="beside"), container("b")]

    assert found({}, *observed) == [("reconcile_adopt", "b"), ("None", "a")]


def test_a_live_container_of_a_removed_game_needs_an_operator() -> None:
    assert found(recorded("removed", None), container()) == [("None", "c1")]


def test_a_second_live_container_needs_an_operator() -> None:
    assert found(recorded("running"), container(), container("c2")) == [("None", "c2")]


def test_a_game_whose_container_is_being_removed_is_not_compared() -> None:
    assert found(recorded("running"), container(state="removing")) == []


def test_a_label_that_names_no_game_is_ignored() -> None:
    assert found({}, container(game_id="not a game")) == []


containers = st.builds(
    container,
    st.sampled_from(["c1", "c2", "c3"]),
    game_id=st.sampled_from(["g1", "g2"]),
    state=st.sampled_from([state.value for state in ContainerState]),
    job_key=st.sampled_from(["", *CREATORS]),
    name=st.sampled_from(["", "beside"]),
)
observations = st.lists(containers, max_size=4, unique_by=lambda container: container.id)
records = st.dictionaries(
    st.sampled_from(["g1", "g2"]),
    st.tuples(st.sampled_from(list(RuntimeStatus)), st.sampled_from(["c1", "c2"])),
    max_size=2,
).map(
    lambda chosen: {
        game_id: Recorded(game_id, status, None if status == RuntimeStatus.REMOVED else container_id, fence=5)
        for game_id, (status, container_id) in chosen.items()
    }
)


def planned(known: dict[str, Recorded], observed: Sequence[Container], *, busy: Sequence[str] = ()) -> list[Finding]:
    return plan(known, observed, busy=busy, creators=creators_of(observed))


@given(records, observations)
def test_a_busy_game_is_skipped(known: dict[str, Recorded], observed: list[Container]) -> None:
    assert {finding.game_id for finding in planned(known, observed, busy=["g1"])} <= {"g2"}


@given(records, observations)
def test_at_most_one_repair_changes_the_record_of_a_game(known: dict[str, Recorded], observed: list[Container]) -> None:
    changing = [finding.game_id for finding in planned(known, observed) if finding.op_kind and not finding.is_leftover]

    assert len(changing) == len(set(changing))


def test_the_leftover_that_an_adopted_container_replaces_is_removed_in_the_same_pass() -> None:
    replaced = container("c1", state="exited", job_key="failed", name="renamed")

    assert found(recorded("running"), replaced, container("c2")) == [
        ("reconcile_adopt", "c2"),
        ("reconcile_dispose", "c1"),
    ]


@given(records, observations)
def test_the_recorded_container_is_removed_only_if_another_one_replaces_it(
    known: dict[str, Recorded], observed: list[Container]
) -> None:
    findings = planned(known, observed)
    adopted = {finding.game_id for finding in findings if finding.op_kind == OperationKind.RECONCILE_ADOPT}
    removed = {(finding.game_id, finding.container_id) for finding in findings if finding.is_leftover}

    kept = {(game_id, record.container_id) for game_id, record in known.items() if game_id not in adopted}
    assert not removed & kept
    assert not removed & {(finding.game_id, finding.container_id) for finding in findings if not finding.is_leftover}


@given(records, observations)
def test_a_live_container_is_never_declared_gone(known: dict[str, Recorded], observed: list[Container]) -> None:
    alive = {container.id for container in observed if container.is_alive and container.game_id in known}
    gone = {
        finding.container_id
        for finding in planned(known, observed)
        if finding.op_kind in {OperationKind.RECONCILE_DISPOSE, OperationKind.RECONCILE_EXIT}
        and not finding.is_leftover
        and any(container.id == finding.container_id and container.game_id == finding.game_id for container in observed)
    }

    assert not alive & gone


@given(records, observations)
def test_a_removed_game_is_never_adopted(known: dict[str, Recorded], observed: list[Container]) -> None:
    removed = {game_id for game_id, record in known.items() if record.status == RuntimeStatus.REMOVED}

    assert not [
        finding
        for finding in planned(known, observed)
        if finding.game_id in removed and finding.op_kind == "reconcile_adopt"
    ]


@given(records, observations)
def test_the_plan_of_the_same_input_is_the_same(known: dict[str, Recorded], observed: list[Container]) -> None:
    assert planned(known, observed) == planned(known, list(observed))


@given(records, observations)
def test_the_order_in_which_docker_lists_games_does_not_matter(
    known: dict[str, Recorded], observed: list[Container]
) -> None:
    by_game = sorted(observed, key=lambda container: container.game_id)

    assert planned(known, by_game) == planned(
        known, sorted(by_game, key=lambda container: container.game_id, reverse=True)
    )


@given(
    st.lists(
        st.tuples(st.text("aAbB", min_size=1, max_size=2), st.sampled_from([OperationKind.RECONCILE_ADOPT, None]))
    ),
    st.dictionaries(st.text("ab", min_size=1, max_size=2), st.booleans()),
)
def test_only_one_of_two_games_with_the_same_host_name_is_adopted(
    requested: list[tuple[str, OperationKind | None]], held: dict[str, bool]
) -> None:
    holders = {host: host.upper() if is_upper else host for host, is_upper in held.items()}
    findings = [Finding(game_id, kind, "c", 0, "r") for game_id, kind in requested]

    checked = refuse_taken_host_names(findings, holders=holders)

    adopted = {finding.game_id for finding in checked if finding.op_kind}
    assert len({game_id.lower() for game_id in adopted}) == len(adopted)
    assert all(holders.get(game_id.lower(), game_id) == game_id for game_id in adopted)
    assert [finding.game_id for finding in checked] == [game_id for game_id, _kind in requested]
    for before, after in zip(findings, checked, strict=True):
        assert after == before or (before.op_kind and after.op_kind is None and "differs only in case" in after.reason)


@given(st.text("aAbBzZ_-09", min_size=1, max_size=51), st.text("aAbBzZ_-09", min_size=1, max_size=51))
def test_two_ids_conflict_exactly_if_their_host_names_differ_only_in_case(one: str, other: str) -> None:
    findings = [Finding(game_id, OperationKind.RECONCILE_ADOPT, "c", 0, "r") for game_id in (one, other)]

    checked = refuse_taken_host_names(findings, holders={})

    conflict = container_name(one).lower() == container_name(other).lower() and one != other
    assert [bool(finding.op_kind) for finding in checked] == [True, not conflict]
