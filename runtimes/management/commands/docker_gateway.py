"""``manage.py docker_gateway``: the only process with access to Docker's socket; the others use its sockets."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from runtimes.container_spec import current_policy
from runtimes.gateway.create_rules import CreateRules
from runtimes.gateway.server import GatewaySettings, GatewayStartError, serve


class Command(BaseCommand):
    """Run the Docker gateway until SIGTERM. Needs neither database nor Redis."""

    help = "Check the calls of the other processes to Docker, and make the allowed ones, until SIGTERM."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        config = settings.RTMANAGER
        sockets = GatewaySettings(
            docker_host=config.docker_host,
            directory=config.docker_gateway_dir,
            watch_group=config.docker_gateway_watch_group,
            operate_group=config.docker_gateway_operate_group,
        )
        rules = CreateRules(current_policy(), config.allowed_registries)
        try:
            asyncio.run(serve(sockets, rules))
        except GatewayStartError as error:
            raise CommandError(str(error)) from None
