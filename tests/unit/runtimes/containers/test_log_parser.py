"""Log answers of the daemon, taken apart."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.containers.docker.log_parser import parse_log, read_log
from runtimes.containers.types import CUT, MAX_LINE_CHARACTERS, LogLine, truncate_to_last

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def stamp(number: int = 0) -> bytes:
    return (AT + timedelta(seconds=number)).isoformat().replace("+00:00", ".000000000Z").encode()


def frame(text: bytes, *, stream: int = 1, number: int = 0) -> bytes:
    payload = stamp(number) + b" " + text
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4) + payload


def parse(*chunks: bytes) -> list[LogLine]:
    return list(parse_log(chunks))


def texts(lines: Sequence[LogLine]) -> list[str]:
    return [one.line for one in lines]


def test_a_frame_is_a_line_with_its_stream_and_time() -> None:
    lines = parse(frame(b"out\n"), frame(b"err\n", stream=2, number=1))

    assert lines == [LogLine(AT, "stdout", "out"), LogLine(AT + timedelta(seconds=1), "stderr", "err")]


def test_the_text_of_a_terminal_is_lines_without_frames() -> None:
    assert parse(stamp() + b" hello\r\n" + stamp() + b" \x01x\r\n" + stamp() + b" no end") == [
        LogLine(AT, "stdout", "hello"),
        LogLine(AT, "stdout", "\x01x"),
        LogLine(AT, "stdout", "no end"),
    ]


def test_bytes_that_are_no_text_survive_as_text() -> None:
    assert texts(parse(frame(b"a\xff\x00b\xf0\x9f\n"))) == ["a\ufffdb\ufffd"]


def test_the_parts_of_a_long_line_are_one_line_also_when_its_end_was_lost() -> None:
    whole = parse(frame(b"a" * 10), frame(b"b" * 10 + b"\n"), frame(b"next\n", number=1))
    endless = parse(frame(b"a" * 10), frame(b"b" * 10), frame(b"next\n", number=1))

    assert texts(whole) == texts(endless) == ["a" * 10 + "b" * 10, "next"]


def test_an_incomplete_line_is_returned_when_the_log_ends() -> None:
    assert texts(parse(frame(b"one\n"), frame(b"two", number=1))) == ["one", "two"]


def test_an_unfinished_line_of_one_stream_does_not_mix_with_the_other() -> None:
    lines = parse(frame(b"out-"), frame(b"err\n", stream=2), frame(b"put\n"))

    assert [(one.stream, one.line) for one in lines] == [("stderr", "err"), ("stdout", "out-put")]


def test_a_line_is_cut_at_its_longest() -> None:
    (line,) = parse(*[frame("é".encode() * 8000)] * 9)

    assert len(line.line) == MAX_LINE_CHARACTERS
    assert line.line.endswith(f"é{CUT}")


def test_a_terminal_s_endless_line_is_never_kept_whole() -> None:
    (line,) = parse(*[b"x" * 10_000] * 100)

    assert len(line.line) == MAX_LINE_CHARACTERS


def test_a_message_of_an_impossible_length_is_no_log() -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse(b"\x01\x00\x00\x00\xff\xff\xff\xff")


def test_what_is_kept_are_the_last_lines_and_never_too_much() -> None:
    many = [frame(b"x" * 4000 + b"\n", number=number) for number in range(2000)]

    assert texts(read_log([frame(b"1\n"), frame(b"2\n", number=1), frame(b"3\n", number=2)], tail=2)) == ["2", "3"]
    kept = read_log(many, tail=2000)
    assert 1_000_000 < sum(len(one.line) for one in kept) <= 1024 * 1024
    assert kept[-1].at == AT + timedelta(seconds=1999)


def test_the_newest_lines_within_a_size_keep_their_order() -> None:
    lines = [LogLine(None, "stdout", text) for text in ("aaaa", "bb", "cc")]

    assert texts(truncate_to_last(lines, characters=5)) == ["bb", "cc"]
    assert truncate_to_last(lines, characters=1) == []


@given(
    messages=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=12),
    cuts=st.lists(st.integers(0, 1500), max_size=8),
)
def test_how_the_bytes_arrive_makes_no_difference(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    frames = [
        frame(text.replace(b"\n", b"") + b"\n", stream=stream, number=number)
        for number, (stream, text) in enumerate(messages)
    ]
    whole = b"".join(frames)
    edges = sorted({0, *(min(cut, len(whole)) for cut in cuts), len(whole)})
    pieces = [whole[start:end] for start, end in itertools.pairwise(edges)]

    lines = parse(*pieces)

    assert lines == parse(whole)
    assert [one.at for one in lines] == [AT + timedelta(seconds=number) for number in range(len(messages))]


@given(st.binary(max_size=300))
def test_no_bytes_whatever_break_the_parser_but_by_name(junk: bytes) -> None:
    try:
        lines = parse(junk)
    except ValueError:
        lines = []

    assert all("\x00" not in one.line and "\n" not in one.line for one in lines)
