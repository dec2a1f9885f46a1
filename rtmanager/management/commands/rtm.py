"""``manage.py rtm …``: the command line, where the program ``rtm`` is not installed."""

from django.core.management.base import BaseCommand

from rtmanager.cli.main import cli


class Command(BaseCommand):
    """Run ``rtm`` with these arguments. It calls the service over HTTP, like ``rtm``."""

    help = "The command line of operators; manage.py rtm --help lists its commands."

    def run_from_argv(self, argv: list[str]) -> None:
        """Pass on the arguments after ``rtm`` unparsed, so that help and errors come from ``rtm``."""
        cli(args=argv[2:], prog_name="manage.py rtm")
