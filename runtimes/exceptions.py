"""All errors of RTM. Each has an error code of the contract and says whether a retry can help."""

from enum import StrEnum


class ErrorCode(StrEnum):
    """The stable codes of the wire contract. ``replay_no_op`` is not an error."""

    INVALID_REQUEST = "invalid_request"
    START_CONFIG_INVALID = "start_config_invalid"
    IMAGE_REF_NOT_SEMVER = "image_ref_not_semver"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    SEMVER_PATCH_ONLY = "semver_patch_only"
    IMAGE_PULL_FAILED = "image_pull_failed"
    CONTAINER_START_FAILED = "container_start_failed"
    SERVICE_UNAVAILABLE = "service_unavailable"
    DOCKER_UNAVAILABLE = "docker_unavailable"
    INTERNAL_ERROR = "internal_error"
    REPLAY_NO_OP = "replay_no_op"


class RuntimeManagerError(Exception):
    """Base of all errors of RTM. ``transient``: nothing was decided, and the same call may succeed later."""

    code: ErrorCode = ErrorCode.INTERNAL_ERROR
    transient: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequestError(RuntimeManagerError):
    """The input is malformed."""

    code = ErrorCode.INVALID_REQUEST


class StartConfigInvalidError(RuntimeManagerError):
    """The start cannot be attempted: invalid image reference, missing network or unusable state directory."""

    code = ErrorCode.START_CONFIG_INVALID


class ImageRefNotSemverError(RuntimeManagerError):
    """A patch compares versions, and one of the image references has none."""

    code = ErrorCode.IMAGE_REF_NOT_SEMVER


class SemverPatchOnlyError(RuntimeManagerError):
    """A patch may only change the patch level."""

    code = ErrorCode.SEMVER_PATCH_ONLY


class RuntimeNotFoundError(RuntimeManagerError):
    """The game has no record."""

    code = ErrorCode.NOT_FOUND


class ConflictError(RuntimeManagerError):
    """The game is busy, or its status does not allow the operation."""

    code = ErrorCode.CONFLICT


class ServiceUnavailableError(RuntimeManagerError):
    """The database or Redis cannot be reached."""

    code = ErrorCode.SERVICE_UNAVAILABLE
    transient = True


class StaleRuntimeError(RuntimeManagerError):
    """A newer operation changed the record. The caller no longer owns the game and must stop without a result."""

    transient = True
