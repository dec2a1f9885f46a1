"""What the reconciler concludes from records and observations, for every combination there can be."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from operations.reconciler import Finding, Recorded, Unknown, plan
from operations.states import OpKind
from runtimes.containers.base import Container, ContainerState
from runtimes.specs import LABEL_GAME_ID, LABEL_OPERATION_ID
from runtimes.states import RuntimeStatus

FINISHED = {("g1", "7")}


def container(
    container_id: str = "c1", *, game_id: str = "g1", state: str = "running", operation_id: str = ""
) -> Container:
    return Container(
        id=container_id,
        name=f"galaxy-game-{game_id}",
        state=ContainerState(state),
        labels={LABEL_GAME_ID: game_id, LABEL_OPERATION_ID: operation_id},
    )


def recorded(status: str, container_id: str | None = "c1", *, game_id: str = "g1") -> dict[str, Recorded]:
    return {game_id: Recorded(game_id, RuntimeStatus(status), container_id, fence=5)}


def found(records: dict[str, Recorded], *observed: Container, busy: Sequence[str] = ()) -> list[tuple[str, str]]:
    findings = plan(records, observed, busy=busy, finished_operations=FINISHED)
    return [(str(one.op_kind), one.container_id) for one in findings]


def test_agreement_is_no_finding() -> None:
    assert found(recorded("running"), container()) == []
    assert found(recorded("stopped"), container(state="exited")) == []
    assert found(recorded("stopped"), container(state="created")) == []
    assert found(recorded("removed", None)) == []
    assert found({}) == []


def test_a_live_container_on_no_record_is_adopted() -> None:
    assert found({}, container()) == [("reconcile_adopt", "c1")]


def test_a_dead_container_on_no_record_is_left_alone() -> None:
    assert found({}, container(state="exited")) == []


def test_a_running_record_without_a_container_is_disposed_of() -> None:
    assert found(recorded("running")) == [("reconcile_dispose", "c1")]


def test_a_stopped_record_without_a_container_is_disposed_of() -> None:
    assert found(recorded("stopped")) == [("reconcile_dispose", "c1")]


def test_a_running_record_whose_container_has_exited_is_an_observed_exit() -> None:
    assert found(recorded("running"), container(state="exited")) == [("reconcile_exit", "c1")]


def test_a_stopped_record_whose_container_runs_is_adopted() -> None:
    assert found(recorded("stopped"), container()) == [("reconcile_adopt", "c1")]


def test_a_container_that_took_the_place_of_the_recorded_one_is_adopted() -> None:
    assert found(recorded("running"), container("c2")) == [("reconcile_adopt", "c2")]


def test_what_an_ended_operation_left_behind_is_removed() -> None:
    assert found({}, container(operation_id="7")) == [("reconcile_dispose", "c1")]
    assert found({}, container(operation_id="7", state="created")) == [("reconcile_dispose", "c1")]


def test_an_operation_of_another_game_left_nothing_behind_here() -> None:
    assert found({}, container(game_id="g2", operation_id="7")) == [("reconcile_adopt", "c1")]


def test_a_live_container_of_a_removed_game_is_left_to_people() -> None:
    assert found(recorded("removed", None), container()) == [("None", "c1")]


def test_a_second_live_container_is_left_to_people() -> None:
    assert found(recorded("running"), container(), container("c2")) == [("None", "c2")]


def test_a_container_being_removed_postpones_the_judgement() -> None:
    assert found(recorded("running"), container(state="removing")) == []


def test_a_label_that_names_no_game_is_ignored() -> None:
    assert found({}, container(game_id="not a game")) == []


containers = st.builds(
    container,
    st.sampled_from(["c1", "c2", "c3"]),
    game_id=st.sampled_from(["g1", "g2"]),
    state=st.sampled_from([state.value for state in ContainerState]),
    operation_id=st.sampled_from(["", "7", "8"]),
)
observations = st.lists(containers, max_size=4, unique_by=lambda one: one.id)
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
    return plan(known, observed, busy=busy, finished_operations=FINISHED)


@given(records)
def test_nothing_follows_from_the_unknown(known: dict[str, Recorded]) -> None:
    assert plan(known, Unknown("Docker is away"), busy=[], finished_operations=[]) == []


@given(records, observations)
def test_a_busy_game_is_nobody_elses_business(known: dict[str, Recorded], observed: list[Container]) -> None:
    assert {one.game_id for one in planned(known, observed, busy=["g1"])} <= {"g2"}


@given(records, observations)
def test_at_most_one_repair_changes_the_record_of_a_game(known: dict[str, Recorded], observed: list[Container]) -> None:
    changing = [one.game_id for one in planned(known, observed) if one.op_kind and not one.is_leftover]

    assert len(changing) == len(set(changing))


def test_what_an_adopted_container_replaces_is_removed_in_the_same_round() -> None:
    replaced = container("c1", state="exited", operation_id="7")

    assert found(recorded("running"), replaced, container("c2")) == [
        ("reconcile_adopt", "c2"),
        ("reconcile_dispose", "c1"),
    ]


@given(records, observations)
def test_the_recorded_container_of_a_game_is_only_removed_when_another_takes_its_place(
    known: dict[str, Recorded], observed: list[Container]
) -> None:
    findings = planned(known, observed)
    adopted = {one.game_id for one in findings if one.op_kind == OpKind.RECONCILE_ADOPT}
    removed = {(one.game_id, one.container_id) for one in findings if one.is_leftover}

    kept = {(game_id, record.container_id) for game_id, record in known.items() if game_id not in adopted}
    assert not removed & kept
    assert not removed & {(one.game_id, one.container_id) for one in findings if not one.is_leftover}


@given(records, observations)
def test_what_is_seen_alive_is_never_declared_gone(known: dict[str, Recorded], observed: list[Container]) -> None:
    alive = {one.id for one in observed if one.is_alive and one.game_id in known}
    gone = {
        one.container_id
        for one in planned(known, observed)
        if one.op_kind in {OpKind.RECONCILE_DISPOSE, OpKind.RECONCILE_EXIT}
        and not one.is_leftover
        and any(seen.id == one.container_id and seen.game_id == one.game_id for seen in observed)
    }

    assert not alive & gone


@given(records, observations)
def test_a_removed_game_is_never_brought_back(known: dict[str, Recorded], observed: list[Container]) -> None:
    removed = {game_id for game_id, record in known.items() if record.status == RuntimeStatus.REMOVED}

    assert not [one for one in planned(known, observed) if one.game_id in removed and one.op_kind == "reconcile_adopt"]


@given(records, observations)
def test_planning_twice_is_planning_once(known: dict[str, Recorded], observed: list[Container]) -> None:
    assert planned(known, observed) == planned(known, list(observed))


@given(records, observations)
def test_the_order_in_which_docker_lists_games_does_not_matter(
    known: dict[str, Recorded], observed: list[Container]
) -> None:
    by_game = sorted(observed, key=lambda one: one.game_id)

    assert planned(known, by_game) == planned(known, sorted(by_game, key=lambda one: one.game_id, reverse=True))
