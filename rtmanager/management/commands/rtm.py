"""``manage.py rtm …``: the command line, for those who have no ``rtm`` at hand."""

from django.core.management.base import BaseCommand

from rtmanager.cli.main import cli


class Command(BaseCommand):
    """Passes its words on. It talks to the service over HTTP like ``rtm`` does, whatever this process could reach."""

    help = "The command line of operators; manage.py rtm --help tells its commands."

    def run_from_argv(self, argv: list[str]) -> None:
        """Run it on the words after ``rtm``, unread: their help and their errors are its own."""
        cli(args=argv[2:], prog_name="manage.py rtm")
