"""Properties of what is answered without a claim."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from operations.replays import Waiting, in_front
from operations.states import OpKind
from tests.properties.cases import holds_for

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def _waiting(number: int, drawn: tuple[str, str, bool]) -> Waiting:
    game_id, op_kind, looks_done = drawn
    return Waiting(
        id=number, game_id=game_id, op_kind=op_kind, looks_done=looks_done, container_id=game_id, fence=1, at=_AT
    )


drawn = st.tuples(st.sampled_from(["g1", "g2", "g3"]), st.sampled_from([OpKind.START, OpKind.STOP]), st.booleans())
queues = st.lists(drawn, max_size=12).map(lambda all_drawn: [_waiting(*one) for one in enumerate(all_drawn)])
alive = st.frozensets(st.sampled_from(["g1", "g2", "g3"]))


@holds_for(queues, alive, cases=4_000)
def test_nothing_is_answered_before_what_stands_in_front_of_it(queue: list[Waiting], alive: frozenset[str]) -> None:
    found = in_front(queue, alive=alive)

    for one in found:
        earlier = [other for other in queue if other.game_id == one.game_id and other.id < one.id]
        assert all(other in found for other in earlier)


@holds_for(queues, alive, cases=4_000)
def test_a_start_is_never_answered_for_a_container_that_was_not_seen_alive(
    queue: list[Waiting], alive: frozenset[str]
) -> None:
    found = in_front(queue, alive=alive)

    assert all(one.looks_done and (one.op_kind == OpKind.STOP or one.container_id in alive) for one in found)


@holds_for(queues, cases=2_000)
def test_what_is_in_front_stays_so_when_all_of_it_is_alive(queue: list[Waiting]) -> None:
    found = in_front(queue)

    assert in_front(found, alive={one.container_id for one in found}) == found
