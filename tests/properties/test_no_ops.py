"""Properties of what is answered without a claim."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from operations.execution.no_ops import OpenOperation, leading_no_ops
from operations.states import OperationKind
from tests.properties.cases import holds_for

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def _waiting(number: int, drawn: tuple[str, str, bool]) -> OpenOperation:
    game_id, op_kind, maybe_no_op = drawn
    return OpenOperation(
        id=number,
        game_id=game_id,
        op_kind=op_kind,
        maybe_no_op=maybe_no_op,
        container_id=game_id,
        engine_endpoint="",
        fence=1,
        at=_AT,
    )


drawn = st.tuples(
    st.sampled_from(["g1", "g2", "g3"]), st.sampled_from([OperationKind.START, OperationKind.STOP]), st.booleans()
)
queues = st.lists(drawn, max_size=12).map(lambda all_drawn: [_waiting(*one) for one in enumerate(all_drawn)])
alive = st.frozensets(st.sampled_from(["g1", "g2", "g3"]))


@holds_for(queues, alive, cases=4_000)
def test_no_operation_is_completed_before_the_earlier_ones(queue: list[OpenOperation], alive: frozenset[str]) -> None:
    found = leading_no_ops(queue, alive=alive)

    for one in found:
        earlier = [other for other in queue if other.game_id == one.game_id and other.id < one.id]
        assert all(other in found for other in earlier)


@holds_for(queues, alive, cases=4_000)
def test_a_start_is_never_answered_for_a_container_that_was_not_seen_alive(
    queue: list[OpenOperation], alive: frozenset[str]
) -> None:
    found = leading_no_ops(queue, alive=alive)

    assert all(one.maybe_no_op and (one.op_kind == OperationKind.STOP or one.container_id in alive) for one in found)


@holds_for(queues, cases=2_000)
def test_what_is_in_front_stays_so_when_all_of_it_is_alive(queue: list[OpenOperation]) -> None:
    found = leading_no_ops(queue)

    assert leading_no_ops(found, alive={one.container_id for one in found}) == found
