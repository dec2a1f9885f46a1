"""Who may do what in the console: one permission per verb, and the three groups that hold them."""

from collections.abc import Mapping

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin

from operations.states import OpKind

# The groups themselves are made by a migration, which keeps a copy of its own: what it did once stays done.
PERMISSIONS: Mapping[OpKind, str] = {
    OpKind.START: "runtimes.start_runtime",
    OpKind.STOP: "runtimes.stop_runtime",
    OpKind.RESTART: "runtimes.restart_runtime",
    OpKind.PATCH: "runtimes.patch_runtime",
    OpKind.CLEANUP_CONTAINER: "runtimes.cleanup_runtime",
}

User = AbstractBaseUser | AnonymousUser


def may(user: User, op_kind: OpKind) -> bool:
    """Whether this person may have it done."""
    return isinstance(user, PermissionsMixin) and user.has_perm(PERMISSIONS[op_kind])


def allowed_kinds(user: User) -> list[OpKind]:
    """Everything this person may have done, in the order of the buttons."""
    return [op_kind for op_kind in PERMISSIONS if may(user, op_kind)]
