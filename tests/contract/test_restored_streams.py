"""The promises of both stream ports to a restored or a second installation, in memory and on a real Redis."""

import pytest

from tasks.streams.base import JobStreams, StreamRefusedError
from tests.contract.stream_backends import MANY, RESULTS, START, STOP, Site, ids, ready, results


def taken(jobs: JobStreams) -> list[str]:
    """Read everything that is new, and acknowledge it."""
    entries = jobs.read_new(count=MANY, block_ms=0).entries
    jobs.acknowledge(entries)
    return ids(entries)


class TestOwner:
    """Two installations that read the same job streams would take each other's jobs."""

    def test_the_first_reader_owns_the_streams_and_another_one_is_refused(self, site: Site) -> None:
        ready(site.jobs(reader="one"))

        with pytest.raises(StreamRefusedError, match=r"belongs to another installation \(one\), this one is two"):
            site.jobs(reader="two").ensure_group()

    def test_a_second_process_of_the_owner_reads(self, site: Site) -> None:
        ready(site.jobs(reader="one"))
        entry = site.produce(START, game_id="a")

        assert taken(ready(site.jobs(reader="one"))) == [entry]

    def test_who_takes_over_gets_what_the_refused_owner_has_read(self, site: Site) -> None:
        former, new = ready(site.jobs(reader="one")), site.jobs(reader="two")
        new.take_over()
        entry = site.produce(START, game_id="a")

        with pytest.raises(StreamRefusedError):
            former.read_new(count=10, block_ms=0)
        new.ensure_group()

        assert [*ids(new.pending()), *ids(new.read_new(count=10, block_ms=0).entries)] == [entry]

    def test_a_former_owner_stays_refused(self, site: Site) -> None:
        ready(site.jobs(reader="one"))
        site.jobs(reader="two").take_over()

        for _attempt in range(2):
            with pytest.raises(StreamRefusedError):
                site.jobs(reader="one").ensure_group()

    def test_a_server_that_lost_its_data_is_claimed_again(self, site: Site) -> None:
        ready(site.jobs(reader="one"))
        site.flush()

        ready(site.jobs(reader="two"))

        with pytest.raises(StreamRefusedError):
            site.jobs(reader="one").ensure_group()


class TestDeliveredAgain:
    """A restored database does not know the jobs that were taken after the backup."""

    def test_taken_entries_above_an_id_are_found_and_new_ones_are_not(self, site: Site) -> None:
        jobs = ready(site.jobs())
        first, *others = site.produce_many(START, count=MANY)
        taken(jobs)
        site.produce(START, game_id="new")

        assert ids(jobs.delivered_after(START, first)) == others
        assert jobs.delivered_after(STOP, "0-0") == []

    def test_nothing_was_taken_without_a_group(self, site: Site) -> None:
        site.produce(START, game_id="a")

        assert site.jobs().delivered_after(START, "0-0") == []

    def test_entries_above_an_id_are_new_again(self, site: Site) -> None:
        jobs = ready(site.jobs())
        first, *others = site.produce_many(START, count=3)
        taken(jobs)

        jobs.deliver_again(START, first)

        assert taken(jobs) == others

    def test_a_group_never_skips_entries(self, site: Site) -> None:
        jobs = ready(site.jobs())
        entries = site.produce_many(START, count=3)

        jobs.deliver_again(START, entries[1])

        assert taken(jobs) == entries


class TestPublished:
    """Whether the result of a job was published shows whether it was done."""

    def test_the_fields_of_published_events_are_found_by_their_key(self, site: Site) -> None:
        site.events().publish_once(results("a", "b"))

        found = site.events().published(RESULTS, ["b", "never", "a"])

        assert found == {key: {"game_id": key, "outcome": "success", "error_code": ""} for key in ("a", "b")}

    def test_an_entry_that_was_deleted_since_has_no_fields(self, site: Site) -> None:
        (entry_id,) = site.events().publish_once(results("a"))
        site.delete(RESULTS, entry_id)

        assert site.events().published(RESULTS, ["a"]) == {"a": None}

    def test_no_keys_find_nothing(self, site: Site) -> None:
        assert site.events().published(RESULTS, []) == {}
