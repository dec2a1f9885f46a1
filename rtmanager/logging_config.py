"""Structured logs: one event per line, named in the past tense, with data in fields and without secrets."""

import json
import logging
import logging.config
import os
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType

import structlog
from structlog.types import Processor

from runtimes.formatting import to_rfc3339

# Libraries whose warnings and errors alone are logged.
_QUIET_LIBRARIES = ("urllib3", "docker", "celery.app.trace", "celery.worker.strategy", "kombu", "amqp")


def only_with_traceback(record: logging.LogRecord) -> bool:
    """Drop Django's lines for 4xx and 5xx responses, which our request log has too, unless they hold a traceback."""
    return record.exc_info is not None


def write_line(event: str, *, logger: str) -> None:
    """Write one line without locks and buffers. For signal handlers, which may interrupt a thread that is logging."""
    record = {"event": event, "level": "info", "logger": logger, "at": to_rfc3339(datetime.now(UTC))}
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{json.dumps(record)}\n".encode())


def configure_logging(*, level: str, log_format: str) -> None:
    """Send all logs, including those of libraries, to standard error: as JSON lines, or as text for a terminal."""
    shared: Sequence[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    renderer: Sequence[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if log_format == "console"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        "foreign_pre_chain": list(shared),
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"structured": formatter},
            "filters": {"only_with_traceback": {"()": lambda: only_with_traceback}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {
                "django.request": {"filters": ["only_with_traceback"]},
                # Our log has every sign-in (rtmanager/http/sign_in.py).
                "axes": {"level": "ERROR"},
                **{name: {"level": "WARNING"} for name in _QUIET_LIBRARIES},
            },
        }
    )
    # Python would print these outside the log, over many lines. Make each one record.
    logging.captureWarnings(capture=True)
    if log_format == "json":
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger(__name__).critical("process_failed", exc_info=(kind, error, trace))


def _log_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        name = failed.thread.name if failed.thread else ""
        structlog.get_logger(__name__).critical("thread_failed", thread=name, exc_info=failed.exc_value)
