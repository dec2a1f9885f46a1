"""The table of sample sizes is complete and allows verdicts."""

import ast

import pytest

from bench.plans import EXTRA_SECONDS, PLANS
from bench.report.figure import LEAST_ROUNDS
from tests.paths import ROOT

_WITHOUT_A_GOAL = {"swarm"}


def _measures() -> list[str]:
    """The keys of MEASURES. Its module imports packages that are installed for the benchmark only."""
    tree = ast.parse((ROOT / "bench" / "measures" / "__init__.py").read_text(encoding="utf-8"))
    (table,) = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    return [key.value for key in table.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]


def test_every_measure_has_a_plan_and_every_plan_a_measure() -> None:
    assert sorted(_measures()) == sorted(PLANS)


@pytest.mark.parametrize("name", sorted(set(PLANS) - _WITHOUT_A_GOAL))
def test_a_figure_with_a_goal_has_enough_rounds_for_a_verdict(name: str) -> None:
    assert PLANS[name].rounds >= LEAST_ROUNDS


def test_swarm_comes_last() -> None:
    assert list(PLANS)[-1] == "swarm"


def test_extra_rounds_of_a_run_end_after_fifteen_minutes() -> None:
    assert EXTRA_SECONDS == 15 * 60


@pytest.mark.parametrize("name", PLANS)
def test_a_quick_run_has_one_small_round(name: str) -> None:
    quick = PLANS[name].quick()

    assert (quick.rounds, quick.extra, quick.warm_up) == (1, 0, False)
    assert quick.each <= 3
