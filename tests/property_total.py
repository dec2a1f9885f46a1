"""How many property cases a test run has tried, summed over all test processes.

A property that was tried on few cases proves little. In CI, a run of the whole suite fails below 100,000 cases.
"""

from typing import Any

import pytest

from tests.properties import cases


class PropertyTotal:
    """A pytest plugin; with pytest-xdist, one instance in each test process and one in the process that starts them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._names: set[str] = set()
        self._generated = 0
        self._enumerated = 0

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A test process hands its numbers over; the main process judges the sum."""
        counted = (sorted(cases.generated | cases.enumerated), cases.generated.total(), cases.enumerated.total())
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["property_cases"] = counted
            return
        self._add(*counted)
        if self._is_too_low() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """The main process collects the numbers of a test process that has ended; one that crashed has none."""
        self._add(*getattr(node, "workeroutput", {}).get("property_cases", ((), 0, 0)))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Report the numbers."""
        if self._generated:
            terminalreporter.write_line(
                f"properties: {len(self._names)} held over {self._generated:,} generated cases"
                f" and {self._enumerated:,} of spaces tried whole"
            )
        if self._is_too_low():
            terminalreporter.write_line(f"FAILED: fewer than {cases.WANTED:,} property cases", red=True)

    def _add(self, names: Any, generated: int, enumerated: int) -> None:
        self._names |= set(names)
        self._generated += generated
        self._enumerated += enumerated

    def _is_too_low(self) -> bool:
        is_whole_suite = not self._config.args or self._config.args == self._config.getini("testpaths")
        is_selection = bool(self._config.getoption("keyword") or self._config.getoption("markexpr"))
        return cases.IS_CI and is_whole_suite and not is_selection and self._generated < cases.WANTED
