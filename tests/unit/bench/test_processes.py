"""What the kernel says of processes is read rightly, and added up over families."""

import os

from bench.testbed.processes import Times, all_times, family, of_service, parse_times, proportional_memory

TICKS = os.sysconf("SC_CLK_TCK")


def stat(name: str, parent: int, *times: int) -> str:
    before, after = "4194304 1 2 3 4", "20 0 1 0 12345 0 0"
    return f"77 ({name}) S {parent} 77 77 0 -1 {before} {' '.join(map(str, times))} {after}"


def test_the_time_of_a_process_is_its_own_and_that_of_its_ended_children() -> None:
    assert parse_times(stat("python", 1, 100, 20, 3, 4)) == Times(parent=1, seconds=127 / TICKS)


def test_a_command_may_have_blanks_and_parentheses_in_its_name() -> None:
    assert parse_times(stat("a) S 9 (b", 5, TICKS, 0, 0, 0)) == Times(parent=5, seconds=1.0)


def test_a_family_is_all_that_hangs_below_its_head() -> None:
    times = {2: Times(1, 0), 3: Times(2, 0), 4: Times(3, 0), 5: Times(1, 0)}

    assert family(2, times) == {2, 3, 4}


def test_a_process_that_is_gone_has_no_family() -> None:
    assert family(9, {2: Times(9, 0)}) == set()


def test_second_copies_belong_to_the_service_and_servers_do_not() -> None:
    assert of_service(["worker", "worker-2", "web", "postgres", "dockerd"]) == ["worker", "worker-2", "web"]


def test_this_very_process_is_seen() -> None:
    assert all_times()[os.getpid()].parent == os.getppid()
    assert proportional_memory(os.getpid()) > 0
