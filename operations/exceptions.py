"""Errors of the protocol itself; those of the deeds are in ``runtimes.exceptions``."""

from runtimes.exceptions import RuntimeManagerError

# The reason of an operation that its worker gave back because it had lost the record, not Docker.
DATABASE_WENT_AWAY = "PostgreSQL went away in the middle of it"


class LeaseLostError(RuntimeManagerError):
    """Another worker owns the operation by now: stop at once, write nothing, say nothing to the outside."""

    transient = True


class PullAwaitedError(RuntimeManagerError):
    """The image is being pulled by somebody else, or must wait for its turn: come back when a pull has ended."""

    transient = True

    def __init__(self, message: str, *, image_ref: str) -> None:
        super().__init__(message)
        self.image_ref = image_ref
