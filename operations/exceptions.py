"""Errors of the protocol itself; those of the deeds are in ``runtimes.exceptions``."""

from runtimes.exceptions import RuntimeManagerError


class LeaseLostError(RuntimeManagerError):
    """Another worker owns the operation by now: stop at once, write nothing, say nothing to the outside."""

    transient = True
