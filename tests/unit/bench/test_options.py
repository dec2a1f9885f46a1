"""The command line names figures, the engine, and how to treat an interrupted run."""

import pytest

from bench.options import parse
from bench.plans import PLANS


def test_without_arguments_everything_is_measured_on_an_own_engine() -> None:
    wanted = parse([])

    assert wanted.only == list(PLANS)
    assert (wanted.engine, wanted.fresh, wanted.quick) == ("", False, False)


def test_figures_keep_the_order_of_the_plans() -> None:
    assert parse(["--only", "swarm", "starts"]).only == ["starts", "swarm"]


def test_engine_fresh_and_quick_are_taken() -> None:
    wanted = parse(["--engine", "unix:///run/other.sock", "--fresh", "--quick"])

    assert (wanted.engine, wanted.fresh, wanted.quick) == ("unix:///run/other.sock", True, True)


def test_an_unknown_figure_is_refused() -> None:
    with pytest.raises(SystemExit):
        parse(["--only", "unicorns"])
