"""The one way this package gives up."""


class LocalError(Exception):
    """Something the person at the keyboard must know; the text is one or two sentences, shown as they are."""
