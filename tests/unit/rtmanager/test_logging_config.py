"""What a process writes, seen from outside: logging is set up once per process and not undone for a test."""

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

from rtmanager.logging_config import only_with_traceback
from tests.paths import ROOT

PROGRAM = """
import logging, structlog
from rtmanager.logging_config import configure_logging
configure_logging(level={level!r}, log_format={log_format!r})
log = structlog.get_logger("tasks.loops.bridge")
{lines}
"""


def say(lines: str, *, level: str = "info", log_format: str = "json") -> list[str]:
    """Run the lines in a process that logs; returns what it wrote to standard error."""
    program = PROGRAM.format(level=level, log_format=log_format, lines=lines)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def records(lines: str, **how: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in say(lines, **how)]


def test_our_lines_and_those_of_libraries_are_json_in_one_format() -> None:
    ours, theirs = records(
        "structlog.contextvars.bind_contextvars(game_id='g1')\n"
        "log.info('jobs_accepted', accepted=2)\n"
        "logging.getLogger('django.server').warning('slow %s', 'client')"
    )

    for line in (ours, theirs):
        written_at = datetime.fromisoformat(line.pop("at"))
        assert abs((datetime.now(UTC) - written_at).total_seconds()) < 60
    assert ours == {
        "event": "jobs_accepted", "level": "info", "logger": "tasks.loops.bridge", "accepted": 2, "game_id": "g1",
    }  # fmt: skip
    assert theirs == {
        "event": "slow client", "level": "warning", "logger": "django.server", "game_id": "g1",
    }  # fmt: skip


def test_a_traceback_is_one_field_of_one_line() -> None:
    (line,) = records("try:\n  1 / 0\nexcept ArithmeticError as error:\n  log.error('loop_failed', exc_info=error)")

    assert line["event"] == "loop_failed"
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_lines_below_the_level_are_not_written() -> None:
    lines = "log.info('reported')\nlog.warning('warned')\nlogging.getLogger('any').info('library')"

    assert [line["event"] for line in records(lines, level="warning")] == ["warned"]


def test_only_warnings_of_verbose_libraries_are_logged() -> None:
    names = ("urllib3.connectionpool", "docker.utils", "celery.app.trace", "kombu.connection", "amqp")
    chat = "\n".join(f"logging.getLogger({name!r}).info('chat')" for name in names)
    trouble = "\n".join(f"logging.getLogger({name!r}).warning({name!r})" for name in names)

    assert [line["event"] for line in records(f"{chat}\n{trouble}", level="debug")] == list(names)


def test_django_axes_repeats_no_sign_in_that_our_log_has() -> None:
    chat = "logging.getLogger('axes.handlers.database').warning('AXES: New login failure')"
    trouble = "logging.getLogger('axes.handlers.proxy').error('broken')"

    assert [line["event"] for line in records(f"{chat}\n{trouble}")] == ["broken"]


def test_the_console_format_is_text() -> None:
    (line,) = say("log.warning('loop_interrupted', reason='no route')", log_format="console")

    assert "loop_interrupted" in line
    assert "no route" in line
    assert not line.startswith("{")


def test_django_request_lines_are_logged_only_with_a_traceback() -> None:
    plain = logging.makeLogRecord({"msg": "Not Found", "exc_info": None})
    failed = logging.makeLogRecord({"msg": "Error", "exc_info": (ValueError, ValueError("x"), None)})

    assert not only_with_traceback(plain)
    assert only_with_traceback(failed)


def test_warnings_and_uncaught_exceptions_have_the_same_format() -> None:
    lines = (
        "import threading, warnings\n"
        "warnings.warn('old ways')\n"
        "failing = threading.Thread(target=lambda: 1 / 0, name='t1')\n"
        "failing.start(); failing.join()\n"
        "import sys; sys.excepthook(ValueError, ValueError('over'), None)"
    )

    warned, thread, process = records(lines)

    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert (thread["event"], thread["thread"], thread["level"]) == ("thread_failed", "t1", "critical")
    assert "ZeroDivisionError" in thread["exception"]
    assert (process["event"], process["exception"]) == ("process_failed", "ValueError: over")


def test_a_line_from_a_signal_handler_has_the_same_format() -> None:
    (line,) = records("from rtmanager.logging_config import write_line\nwrite_line('bye', logger='celery')")

    assert set(line) == {"event", "level", "logger", "at"}
    assert line["event"] == "bye"
