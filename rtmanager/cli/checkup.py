"""``rtm doctor``: every dependency and setting of the service, and how to mend what is wrong."""

from collections.abc import Iterable
from typing import Any

import click

from rtmanager.cli.failures import ExitCode, Failure
from rtmanager.cli.session import Session, talks_to_service
from rtmanager.cli.terminal import plain

Check = dict[str, Any]
_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("FAILED", "red")}


@click.command()
@click.option("--problems", is_flag=True, help="Show only what is not as it should be.")
@talks_to_service(timeout="30s")
def doctor(session: Session, *, problems: bool) -> None:
    """Check every dependency and setting of the service; tell how to mend what is wrong."""
    checks = [one for one in session.api.get("doctor")["checks"] if not problems or one["status"] != "ok"]
    # Colours are taken off where nobody would see them.
    session.answer({"checks": checks}, lambda: report(checks, is_coloured=True) or "Everything is as it should be.")
    failed = [one["name"] for one in checks if one["status"] == "failed"]
    if failed:
        message = (
            f"{len(failed)} checks failed: {', '.join(failed)}" if len(failed) > 1 else f"1 check failed: {failed[0]}"
        )
        raise Failure(message, exit_code=ExitCode.FAILED, code="unhealthy", advice="Follow the advice beside each.")


def report(checks: Iterable[Check], *, is_coloured: bool) -> str:
    """All checks as text."""
    text = "\n".join(map(_describe, checks))
    return text if is_coloured else click.unstyle(text)


def _describe(check: Check) -> str:
    word, colour = _MARKS[check["status"]]
    line = f"{click.style(word.ljust(8), fg=colour)} {check['name']:<22} {plain(check['found'])}"
    return f"{line}\n{' ' * 32}{plain(check['advice'])}" if check["advice"] else line
