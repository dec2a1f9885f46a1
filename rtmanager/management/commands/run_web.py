"""``manage.py run_web``: the web process, which serves the REST API and the console."""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from operations.installation.schema import refuse_unfit_schema
from operations.monitoring.heartbeats import WEB_PREFIX, ProcessHeartbeat
from rtmanager.web_server import serve
from runtimes.containers import use_adapter


class Command(BaseCommand):
    """Serve until SIGTERM; then held calls end with 202, and running requests finish within SHUTDOWN_TIMEOUT."""

    help = "Serve the REST API and the console on RTMANAGER_INTERNAL_HTTP_ADDR, until SIGTERM."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Raises CommandError if the address is in use or not of this machine, or the tables are of another version."""
        from rtmanager.wsgi import application  # noqa: PLC0415 - other commands do not load the URLs

        refuse_unfit_schema()
        use_adapter("tasks.remote_docker.RemoteDocker")
        # Django would import the URLs at the first request.
        import_module(settings.ROOT_URLCONF)
        heartbeat = ProcessHeartbeat(WEB_PREFIX)
        heartbeat.start()
        config = settings.RTMANAGER
        address = config.internal_http_addr
        drain_seconds = config.shutdown_timeout.total_seconds()
        try:
            serve(application, address, threads=config.web_threads, drain_seconds=drain_seconds)
        except OSError as error:
            message = f"cannot listen on RTMANAGER_INTERNAL_HTTP_ADDR={address}: {error.strerror}; choose a free one"
            raise CommandError(message) from error
        heartbeat.end()
