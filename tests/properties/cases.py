"""How many cases a property is tried on, and the count of those that really ran.

CI tries the whole number, always the same cases; a run by hand tries a tenth, other ones each time, and prints the
line that repeats a failure.
"""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

IS_CI = os.environ.get("CI") == "true"
SHARE = 1 if IS_CI else 10
WANTED = 100_000 // SHARE

# No deadline: the machine may be busy. No database: what failed once must not decide what is tried next.
_PROFILE = settings(
    deadline=None,
    database=None,
    derandomize=IS_CI,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

Case = TypeVar("Case")
Property = Callable[..., None]

# By property: cases drawn at random, and cases of a space so small that all of it was tried.
generated: Counter[str] = Counter()
enumerated: Counter[str] = Counter()


def holds_for(*strategies: SearchStrategy[Any], cases: int) -> Callable[[Property], Property]:
    """The property holds for ``cases`` generated cases; those that ran to their end are counted."""

    def decorate(test: Property) -> Property:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            test(*args, **kwargs)
            generated[test.__name__] += 1

        return settings(_PROFILE, max_examples=max(1, cases // SHARE))(given(*strategies)(counted))

    return decorate


def every(cases: Iterable[Case], *, of: str) -> Iterator[Case]:
    """Each case of a small space, counted under the name of the property."""
    for case in cases:
        yield case
        enumerated[of] += 1


def assert_holds(machine: type[RuleBasedStateMachine], *, cases: int, steps: int) -> None:
    """The invariants of the state machine hold in ``cases`` generated runs of up to ``steps`` steps each."""

    class CounterSpec(machine):  # type: ignore[valid-type, misc]
        def teardown(self) -> None:
            super().teardown()
            generated[machine.__name__] += 1

    profile = settings(_PROFILE, max_examples=max(1, cases // SHARE), stateful_step_count=steps)
    run_state_machine_as_test(CounterSpec, settings=profile)
