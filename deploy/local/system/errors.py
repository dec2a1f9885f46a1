"""The error of this package."""


class LocalError(Exception):
    """A command failed. The message is shown to the user as it is."""
