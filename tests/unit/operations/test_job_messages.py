import contextlib
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.messages import StreamEntry, game_id_or_empty, job_key, parse_start_job, parse_stop_job
from operations.states import OperationKind, OperationSource, StopReason
from runtimes.exceptions import InvalidRequestError
from runtimes.game_ids import is_game_id

REQUESTED_AT = "1700000000123"
START_FIELDS = {
    "game_id": "game-1",
    "image_ref": "registry.example/galaxy-engine:1.0.0",
    "requested_at_ms": REQUESTED_AT,
}
STOP_FIELDS = {"game_id": "game-1", "reason": "cancelled", "requested_at_ms": REQUESTED_AT}

any_text = st.text(st.characters())
any_fields = st.dictionaries(
    st.sampled_from(["game_id", "image_ref", "reason", "requested_at_ms"]) | any_text,
    any_text | st.sampled_from(["game-1", "cancelled", REQUESTED_AT]),
)
game_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}", fullmatch=True)
printable = st.text(st.characters().filter(str.isprintable), min_size=1, max_size=200)
milliseconds = st.integers(0, 253_402_300_799_999)


def entry(fields: dict[str, str] | None, *, stream: str = "start_jobs") -> StreamEntry:
    return StreamEntry(stream, "1700000000456-7", fields)


def without(fields: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in fields.items() if key != name}


def test_a_start_job_becomes_a_request_for_a_start() -> None:
    request = parse_start_job(entry(START_FIELDS))

    assert (request.game_id, request.op_kind, request.op_source) == (
        "game-1",
        OperationKind.START,
        OperationSource.LOBBY_STREAM,
    )
    assert request.arguments == {"image_ref": START_FIELDS["image_ref"]}
    assert request.job_key == "start_jobs:1700000000456-7"
    assert request.source_ref == "1700000000456-7"
    assert request.requested_at is not None
    assert request.requested_at.isoformat(timespec="milliseconds") == "2023-11-14T22:13:20.123+00:00"


@pytest.mark.parametrize("reason", StopReason.values)
def test_every_reason_of_the_contract_stops(reason: str) -> None:
    request = parse_stop_job(entry({**STOP_FIELDS, "reason": reason}))

    assert (request.op_kind, request.arguments) == (OperationKind.STOP, {"reason": reason})


def test_unknown_fields_are_ignored() -> None:
    assert parse_start_job(entry({**START_FIELDS, "trace": "\x00"})) == parse_start_job(entry(START_FIELDS))


@pytest.mark.parametrize("name", START_FIELDS)
def test_a_start_without_a_field_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"field {name} is missing or empty"):
        parse_start_job(entry(without(START_FIELDS, name)))


@pytest.mark.parametrize("name", STOP_FIELDS)
def test_a_stop_without_a_field_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"field {name} is missing or empty"):
        parse_stop_job(entry(without(STOP_FIELDS, name)))


@pytest.mark.parametrize("name", START_FIELDS)
def test_an_empty_field_counts_as_missing(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"field {name} is missing or empty"):
        parse_start_job(entry({**START_FIELDS, name: ""}))


@pytest.mark.parametrize("parse", [parse_start_job, parse_stop_job])
def test_a_tombstone_holds_no_job(parse: Any) -> None:
    with pytest.raises(InvalidRequestError, match="is missing or empty"):
        parse(entry(None))


@pytest.mark.parametrize("name", START_FIELDS)
@pytest.mark.parametrize(
    "value",
    ["a\x00b", "a\nb", "a\x1b[31mb", "a\u200bb", "a\ud800b", "a\u2028b", "a" * 4097],
    ids=["NUL", "newline", "escape", "zero width", "surrogate", "line separator", "too long"],
)
def test_what_cannot_be_printed_on_one_line_is_refused_by_the_name_of_its_field(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"field {name} is not printable text of at most 4096 characters"):
        parse_start_job(entry({**START_FIELDS, name: value}))


def test_the_longest_field_is_accepted() -> None:
    longest = "a" * 4096

    assert parse_start_job(entry({**START_FIELDS, "image_ref": longest})).arguments == {"image_ref": longest}


@pytest.mark.parametrize("game_id", ["-a", "_a", "a/b", "..", "a b", "a.b", "ä", "٣", "a" * 52, "g\\xff1"])
def test_a_game_id_that_names_no_game_is_refused_with_the_rule(game_id: str) -> None:
    with pytest.raises(InvalidRequestError, match="1 to 51 letters, digits"):
        parse_start_job(entry({**START_FIELDS, "game_id": game_id}))


@pytest.mark.parametrize("reason", ["Cancelled", "cancelled ", "boredom", "CANCELLED"])
def test_an_unknown_reason_is_refused_with_the_known_ones(reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"is unknown; it is one of orphan_cleanup, cancelled, finished"):
        parse_stop_job(entry({**STOP_FIELDS, "reason": reason}))


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "-1",
        "+1",
        "1.5",
        "1e3",
        " 1",
        "1_000",
        "0x10",
        "١٢٣",
        "²",
        "\uff11\uff12",
        "253402300800000",
        "9" * 16,
        "9" * 4000,
    ],
)
def test_what_is_no_time_in_milliseconds_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"requested_at_ms is .* not milliseconds since 1970"):
        parse_start_job(entry({**START_FIELDS, "requested_at_ms": text}))


def test_a_refusal_never_repeats_a_whole_novel() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_stop_job(entry({**STOP_FIELDS, "reason": "x" * 4000}))

    assert len(refused.value.message) < 250


def test_the_game_of_a_bad_entry_is_read_when_it_can_be() -> None:
    assert game_id_or_empty(entry({"game_id": "game-1", "reason": "boredom"})) == "game-1"


@pytest.mark.parametrize("fields", [None, {}, {"game_id": ""}, {"game_id": "no game"}, {"game_id": "a\x00"}])
def test_no_game_is_made_up_for_a_bad_entry(fields: dict[str, str] | None) -> None:
    assert game_id_or_empty(entry(fields)) == ""


def test_the_same_id_in_two_streams_names_two_jobs() -> None:
    assert job_key(entry({}, stream="start_jobs")) != job_key(entry({}, stream="stop_jobs"))


@given(any_fields)
def test_whatever_comes_is_accepted_or_refused_as_an_invalid_request(fields: dict[str, str]) -> None:
    for parse in (parse_start_job, parse_stop_job):
        with contextlib.suppress(InvalidRequestError):
            assert parse(entry(fields)).game_id == fields["game_id"]


@given(game_id=game_ids, image_ref=printable, requested_at_ms=milliseconds)
def test_what_a_start_says_comes_through_unchanged(game_id: str, image_ref: str, requested_at_ms: int) -> None:
    fields = {"game_id": game_id, "image_ref": image_ref, "requested_at_ms": str(requested_at_ms)}

    request = parse_start_job(entry(fields))

    assert (request.game_id, request.arguments) == (game_id, {"image_ref": image_ref})
    assert request.requested_at is not None
    assert round(request.requested_at.timestamp() * 1000) == requested_at_ms


@given(any_text)
def test_a_readable_game_id_is_a_game_id_or_empty(text: str) -> None:
    game_id = game_id_or_empty(entry({"game_id": text}))

    assert game_id == "" or (game_id == text and is_game_id(text))
    assert set(game_id) <= {*string.ascii_letters, *string.digits, "-", "_"}


@pytest.mark.parametrize("name", ["game_id", "image_ref", "requested_at_ms", "trace"])
def test_a_repeated_field_is_refused_by_name_even_with_one_value(name: str) -> None:
    fields: dict[str, str | list[str]] = {"game_id": "g1", "image_ref": "engine:1", "requested_at_ms": "1"}
    entry = StreamEntry("jobs", "1-0", {**fields, name: ["1", "1"]})

    with pytest.raises(InvalidRequestError, match=f"field '{name}' occurs more than once"):
        parse_start_job(entry)
