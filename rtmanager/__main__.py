"""``rtmanager`` and ``python -m rtmanager``: the commands of ``manage.py``, where only the package is installed."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Entry point of the script ``rtmanager``."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rtmanager.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
