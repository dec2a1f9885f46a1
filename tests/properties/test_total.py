"""Runs last: a property that is hardly tried proves little."""

from tests.properties import cases


def test_the_properties_were_tried_on_a_hundred_thousand_generated_cases_in_ci() -> None:
    assert cases.generated.total() >= cases.WANTED, dict(cases.generated)
