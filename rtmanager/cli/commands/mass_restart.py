"""``rtm restart --ended-by``: restarts all games that are down with one cause, a few at a time.

It shows the plan first, and stops after several failures with the same error code.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import click

from operations.kinds import REQUESTABLE
from rtmanager.cli.command import Session
from rtmanager.cli.errors import CliError, ExitCode, error_from_code
from rtmanager.cli.output import Columns, Record, format_age, of, plural, strip_control, table_of
from rtmanager.cli.submit import FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS, NO_OP, fetch_operation, submit

RESTART = REQUESTABLE["restart"]
# Read all pages: a host has some thousands of games.
_ALL = 1_000_000
_OUTCOMES = ("restarted", "skipped", "failed")
_PLAN: Columns = {"game": "game_id", "image": "current_image_ref", "ended": of("stopped_at", format_age)}


@dataclass
class MassRestart:
    """One run over the games of a plan. ``key`` is the prefix of the idempotency key of each game.

    ``outcomes``: of each game ``restarted``, ``skipped`` or ``failed``, with the error of a failure.
    """

    session: Session
    cause: str
    parallel: int
    max_failures: int
    key: str = field(default_factory=lambda: f"rtm-{uuid.uuid4().hex}")
    outcomes: list[Record] = field(default_factory=list)
    _left: list[str] = field(default_factory=list)
    _in_progress: dict[str, Record] = field(default_factory=dict)
    _planned: int = 0

    def plan(self) -> list[Record]:
        """Return the games that are down with this cause now.

        While Docker does not respond, games that exited are still recorded as running: the list may be incomplete.
        Raises CliError if the list is empty for this reason.
        """
        records = self.session.api.items("runtimes", {"ended_by": self.cause}, limit=_ALL)
        if failure := self.session.api.docker_failure():
            message = f"Docker does not respond ({failure}): the service cannot see which games are down"
            error = error_from_code("docker_unavailable", message)
            if not records:
                raise error
            error.as_json = self.session.as_json
            error.show()
        return records

    def run(self, records: Sequence[Record]) -> None:
        """Restart these games, ``parallel`` at a time. Raises CliError if some restarts failed.

        After ``max_failures`` with one error code no further game is started; restarts in progress are awaited.
        """
        self._left, self._planned = [record["game_id"] for record in records], len(records)
        try:
            self._restart_all()
        except KeyboardInterrupt:
            click.echo(f"\nRestarts that continue: {len(self._in_progress)}. {self._resume()}", err=True)
            raise
        self._report()

    def _restart_all(self) -> None:
        seconds = FIRST_POLL_SECONDS
        while self._in_progress or (self._left and not self._stop_code()):
            while self._left and len(self._in_progress) < self.parallel and not self._stop_code():
                self._begin(self._left[0])
                del self._left[0]
            finished = self._collect_finished()
            if self._in_progress and not finished:
                if self.session.api.seconds_left <= 0:
                    raise self._timeout()
                time.sleep(min(seconds, self.session.api.seconds_left))
            seconds = FIRST_POLL_SECONDS if finished else min(seconds * 1.5, LONGEST_POLL_SECONDS)

    def summary(self) -> Record:
        """Return the outcomes as data for ``--json``."""
        return {
            "ended_by": self.cause,
            "planned": self._planned,
            **self._counts(),
            "left": [*self._left],
            "items": self.outcomes,
        }

    def _counts(self) -> dict[str, int]:
        counts = Counter(outcome["outcome"] for outcome in self.outcomes)
        return {name: counts[name] for name in _OUTCOMES}

    def _begin(self, game_id: str) -> None:
        if self.session.api.seconds_left <= 0:
            raise self._timeout()
        try:
            arguments, key = {"if_ended_by": self.cause}, f"{self.key}-{game_id}"
            self._in_progress[game_id] = submit(self.session, RESTART, game_id, arguments, key=key)
        except CliError as error:
            if error.exit_code in {ExitCode.UNREACHABLE, ExitCode.NOT_ALLOWED, ExitCode.USAGE}:
                # This error concerns every game, not only this one.
                error.advice = f"{error.advice} {self._resume()}".strip()
                raise
            # Busy with another operation, or its record is gone: not a failure of this run.
            outcome = "skipped" if error.code in {"conflict", "not_found"} else "failed"
            self._add(game_id, outcome, None, error.code, error.message)

    def _collect_finished(self) -> int:
        """Poll the restarts in progress; return how many are finished."""
        before = len(self.outcomes)
        for game_id, operation in list(self._in_progress.items()):
            if operation["state"] != "finished":
                operation = fetch_operation(self.session, operation)  # noqa: PLW2901
            if operation["state"] == "finished":
                del self._in_progress[game_id]
                self._add(game_id, *_outcome_of(operation))
        return len(self.outcomes) - before

    def _add(self, game_id: str, outcome: str, operation_id: str | None, code: str, message: str) -> None:
        record = {"game_id": game_id, "outcome": outcome, "operation_id": operation_id}
        self.outcomes.append({**record, "error_code": code, "error_message": message})
        if not self.session.as_json:
            reason = f"{code}: {message}" if outcome == "failed" else message
            line = f"{game_id}  {outcome}" + (f" ({reason})" if reason else "")
            click.echo(f"[{len(self.outcomes)}/{self._planned}] {strip_control(line)}")

    def _failures(self) -> Counter[str]:
        return Counter(outcome["error_code"] for outcome in self.outcomes if outcome["outcome"] == "failed")

    def _stop_code(self) -> str:
        """Return the error code that occurred ``max_failures`` times; empty if none did."""
        return next((code for code, count in self._failures().items() if count >= self.max_failures), "")

    def _report(self) -> None:
        counts, left = {**self._counts(), "left": len(self._left)}, len(self._left)
        self.session.print_result(self.summary(), ", ".join(f"{count} {name}" for name, count in counts.items()) + ".")
        if code := self._stop_code():
            raise CliError(
                f"stopped after {plural(self.max_failures, 'failure')} with {code}; {plural(left, 'game')} left",
                exit_code=ExitCode.FAILED,
                code=code,
                advice=f"Fix the cause first. {self._resume()}",
            )
        if failures := self._failures():
            raise CliError(
                f"{plural(failures.total(), 'restart')} failed ({', '.join(sorted(failures))})",
                exit_code=ExitCode.FAILED,
                code="restarts_failed",
                advice=f"`rtm explain GAME` shows the cause. {self._resume()}",
            )

    def _timeout(self) -> CliError:
        message = (
            f"timeout: {len(self.outcomes)} of {plural(self._planned, 'game')} done, "
            f"{len(self._in_progress)} in progress, {len(self._left)} not started"
        )
        return CliError(message, exit_code=ExitCode.STILL_RUNNING, code="still_running", advice=self._resume())

    def _resume(self) -> str:
        return f"Run `rtm restart --ended-by {self.cause}` again for the games that are still down."


def restart_all(run: MassRestart, *, only_plan: bool, confirm: Callable[[str], None]) -> None:
    """Show the plan, ask for confirmation, and restart the games. Raises CliError."""
    records = run.plan()
    plan = _describe(records, run.cause)
    if only_plan or not records:
        run.session.print_result({"items": records} if only_plan else run.summary(), plan)
        return
    if not run.session.as_json:
        click.echo(plan)
    confirm(f"Restart {plural(len(records), 'game')}, {run.parallel} at a time?")
    run.run(records)


def _describe(records: Sequence[Record], cause: str) -> str:
    if not records:
        return f"No game is down with the cause {cause}."
    games = f"{plural(len(records), 'game')} {'is' if len(records) == 1 else 'are'}"
    return f"{table_of(records, _PLAN)}\n{games} down with the cause {cause}."


def _outcome_of(operation: Record) -> tuple[str, str, str, str]:
    """Return the outcome, the id of the operation, and the code and message of the error."""
    if operation["outcome"] != "success":
        return "failed", operation["id"], operation["error_code"], operation["error_message"]
    if operation["error_code"] == NO_OP:
        return "skipped", operation["id"], "", "no longer down with this cause"
    return "restarted", operation["id"], "", ""
