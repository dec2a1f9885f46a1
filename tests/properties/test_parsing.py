"""Properties of the parsers: references, versions, limits, durations, cursors."""

from contextlib import suppress

import pytest
from hypothesis import strategies as st

from runtimes.api.base.pagination import _decode, _encode
from runtimes.container_limits import ceilings_of, limits_from_labels
from runtimes.container_spec import (
    LABEL_CPU_QUOTA,
    LABEL_MEMORY,
    LABEL_PIDS_LIMIT,
    MIN_CPU_QUOTA,
    MIN_MEMORY_BYTES,
    MIN_PIDS_LIMIT,
    Limits,
    MaxLimits,
    parse_memory,
)
from runtimes.containers.types import HostCapacity
from runtimes.exceptions import (
    ImageRefNotSemverError,
    InvalidRequestError,
    RuntimeManagerError,
    SemverPatchOnlyError,
    StartConfigInvalidError,
)
from runtimes.formatting import parse_duration
from runtimes.image_refs import check_image_ref, check_patch, qualify_image_ref, split_image_ref
from tests.properties.cases import holds_for

DEFAULTS = Limits(1.0, 2**29, 512)
HOST = HostCapacity(cpus=2, memory_bytes=2**32)
numbers = st.integers(0, 10**9)
texts = st.text(max_size=12)


@holds_for(numbers, cases=3_000)
def test_a_reference_is_taken_apart_into_what_it_was_put_together_from(number: int) -> None:
    registry = ["", "host/", "host:5000/", "a.b-c.example:443/"][number % 4]
    tag = ["", f"v{number}", f"{number}.0.1-rc"][number // 4 % 3]
    digest = ["", "sha256:" + f"{number:064x}"][number // 12 % 2]
    text = f"{registry}team/game-{number}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")

    check_image_ref(text)

    assert split_image_ref(text) == (f"{registry}team/game-{number}", tag, digest)
    assert qualify_image_ref(qualify_image_ref(text)) == qualify_image_ref(text)


@holds_for(texts, cases=3_000)
def test_any_text_is_an_image_reference_or_is_refused_with_a_reason(text: str) -> None:
    with suppress(StartConfigInvalidError):
        check_image_ref(text)
        assert text.isascii()
        assert text.isprintable()


@holds_for(numbers, numbers, cases=3_000)
def test_a_patch_keeps_major_and_minor_in_both_directions(first: int, second: int) -> None:
    old, new = (f"game:{'v' * (one % 2)}{one % 3}.{one // 3 % 3}.{one}" for one in (first, second))
    fits = (first % 3, first // 3 % 3) == (second % 3, second // 3 % 3)

    for one, other in [(old, new), (new, old)]:
        if fits:
            check_patch(old_image_ref=one, new_image_ref=other)
        else:
            with pytest.raises(SemverPatchOnlyError):
                check_patch(old_image_ref=one, new_image_ref=other)


@holds_for(texts, texts, cases=2_000)
def test_any_two_texts_are_comparable_versions_or_are_refused(old: str, new: str) -> None:
    with suppress(ImageRefNotSemverError, SemverPatchOnlyError):
        check_patch(old_image_ref=f"game:{old}", new_image_ref=f"game:{new}")
        assert old.lstrip("v").isascii()


@holds_for(texts, texts, texts, cases=3_000)
def test_whatever_the_labels_say_the_limits_can_be_given_to_docker(cpu: str, memory: str, pids: str) -> None:
    labels = {LABEL_CPU_QUOTA: cpu, LABEL_MEMORY: memory, LABEL_PIDS_LIMIT: pids}

    limits, _warnings = limits_from_labels(labels, DEFAULTS, ceilings_of(MaxLimits(), DEFAULTS, HOST))

    assert MIN_CPU_QUOTA <= limits.cpu_quota <= HOST.cpus
    assert MIN_MEMORY_BYTES <= limits.memory_bytes <= HOST.memory_bytes
    assert MIN_PIDS_LIMIT <= limits.pids_limit <= 4096


@holds_for(numbers, st.sampled_from(["", "k", "m", "g", "KiB", "MB"]), cases=2_000)
def test_an_amount_of_memory_is_its_number_times_its_unit(number: int, unit: str) -> None:
    factor = 1024 ** " kmg".index(unit[:1].lower() or " ")

    assert parse_memory(f"{number + 1}{unit}") == (number + 1) * factor


@holds_for(numbers, numbers, cases=3_000)
def test_a_sum_of_durations_is_the_sum_of_their_times(hours: int, milliseconds: int) -> None:
    hours %= 10_000
    together = parse_duration(f"{hours}h{milliseconds}ms")

    assert together == parse_duration(f"{hours}h") + parse_duration(f"{milliseconds}ms")


@holds_for(texts, cases=2_000)
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_duration(text).total_seconds() >= 0


@holds_for(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(str.isprintable), cases=2_000)
def test_a_cursor_leads_back_to_the_key_it_was_made_from(key: str) -> None:
    assert _decode(_encode(key)) == key


@holds_for(texts, cases=2_000)
def test_any_text_is_a_cursor_or_is_refused(text: str) -> None:
    with suppress(InvalidRequestError):
        assert _decode(text)
    assert issubclass(InvalidRequestError, RuntimeManagerError)
