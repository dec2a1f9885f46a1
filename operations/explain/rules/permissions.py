"""Causes in RTM's settings: the system denied the engine a file or a capability. Pure.

A cause is reported only if the facts do not contradict it: user, owner, mode and the hardening in force.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from operations.explain.diagnosis import Cause
from operations.explain.facts import Facts, StateDirectory
from operations.explain.log_denials import Denial, DenialKind, find_denial
from runtimes.formatting import single_line

_NEVER_WRITABLE = ("/proc", "/sys")
_TMP = "/tmp"  # noqa: S108 (a path inside the container)
_WRITE_AND_SEARCH = 0o3
_ROOT = 0
_SET_WRITABLE = "set RTMANAGER_CONTAINER_READ_ONLY=false and restart Runtime Manager"


@dataclass(frozen=True, slots=True)
class DeniedAccess:
    """Why an engine exited, and what to change. ``is_fixed``: the present settings allow what was denied."""

    cause: Cause
    what: str
    advice: str
    is_fixed: bool = False


def denied_access(facts: Facts) -> DeniedAccess | None:
    """What the system denied the engine that exited; None if unknown, or if the facts contradict it."""
    report = facts.exit_report_of_end
    if report is not None and report.log:
        lines, limits = [str(entry.get("line", "")) for entry in report.log], report.limits
    else:
        lines, limits = list(facts.docker_state.last_lines), facts.docker_state.limits
    denial = find_denial(lines)
    if denial is None:
        return None
    if denial.kind == DenialKind.READ_ONLY_FILESYSTEM:
        return _read_only(facts, denial, limits)
    if denial.kind == DenialKind.NOT_PERMITTED:
        return _not_permitted(facts, denial, limits)
    return _permission(facts, denial, limits)


def may_write(user: str, directory: StateDirectory) -> bool | None:
    """Whether a process of this user may create files in the directory; None if unknown.

    Games have no capabilities, so the permission bits decide for root too.
    """
    uid, gid = numbers(user)
    if uid is None or not directory.is_known or directory.owner_uid is None:
        return None
    if uid == directory.owner_uid:
        return _allows(directory.mode >> 6)
    as_group, as_other = _allows(directory.mode >> 3), _allows(directory.mode)
    if gid is None:
        # The image's /etc/passwd decides the group.
        return as_group if as_group == as_other else None
    return as_group if gid == directory.owner_gid else as_other


def numbers(user: str) -> tuple[int | None, int | None]:
    """User and group as numbers; None for a name, and for a group that is not given."""
    first, _colon, second = user.partition(":")
    if first in {"", "root"}:
        return _ROOT, int(second) if second.isdecimal() else _ROOT
    return int(first) if first.isdecimal() else None, int(second) if second.isdecimal() else None


def _allows(bits: int) -> bool:
    return bits & _WRITE_AND_SEARCH == _WRITE_AND_SEARCH


def _read_only(facts: Facts, denial: Denial, limits: Mapping[str, Any]) -> DeniedAccess | None:
    shown, directory, mount = _shown(denial), facts.state_directory, facts.config.engine_state_mount_path
    if _is_below(denial.path, *_NEVER_WRITABLE):
        return None
    if _is_in_state(facts, denial.path, limits):
        if directory.is_known and not directory.is_read_only:
            return None
        what = f"the file system of its state directory is read-only, so its engine could not write {shown}"
        advice = "Check the disk (dmesg), and mount it read-write again"
        return DeniedAccess(Cause.READ_ONLY_FILESYSTEM, what, advice)
    if not _has_read_only_root(facts, limits):
        return None
    where = f"{shown} outside" if shown else "outside"
    what = f"its engine tried to write {where} of its state, and its root file system is read-only"
    advice = f"Let the engine write below {mount} or {_TMP}; or {_SET_WRITABLE}"
    return DeniedAccess(Cause.READ_ONLY_FILESYSTEM, what, advice, is_fixed=not facts.config.container_read_only)


def _permission(facts: Facts, denial: Denial, limits: Mapping[str, Any]) -> DeniedAccess | None:
    user, mount = str(limits.get("user") or ""), facts.config.engine_state_mount_path
    if _is_in_state(facts, denial.path, limits) or not denial.path:
        return _permission_in_state(facts, denial, user)
    if _is_below(denial.path, *_NEVER_WRITABLE):
        return None
    if _is_below(denial.path, _TMP):
        return _not_executable(facts, denial, limits)
    what = f"its engine, which runs as {_named(user)}, has no permission for {_shown(denial)}, outside of its state"
    by = "RTMANAGER_CONTAINER_USER" if facts.config.container_user else "the image (USER)"
    advice = (
        f"Let the engine write below {mount} or {_TMP}, or change the owner of that path in the image to the engine's "
        f"user, which {by} decides"
    )
    return DeniedAccess(Cause.PERMISSION_DENIED, what, advice)


def _permission_in_state(facts: Facts, denial: Denial, user: str) -> DeniedAccess | None:
    directory, config = facts.state_directory, facts.config
    is_allowed = may_write(user, directory)
    is_itself = posixpath.normpath(denial.path or "/") == posixpath.normpath(config.engine_state_mount_path)
    if is_allowed and (is_itself or not denial.path):
        return None
    target = f"{_shown(denial)} in its state directory" if denial.path else "its state directory"
    what = f"its engine runs as {_named(user)} and has no permission for {target}"
    if is_allowed:
        uid, gid = numbers(user)
        owner = f"{uid}" if gid is None else f"{uid}:{gid}"
        what += ". The directory is correct, so the files in it belong to another user"
        advice = (
            f"Change the owner of the files to the engine's user: chown -R {owner} {facts.state_path}; or set "
            "RTMANAGER_CONTAINER_USER to their owner"
        )
        return DeniedAccess(Cause.PERMISSION_DENIED, what, advice)
    if directory.owner_uid is not None:
        what += f", which belongs to {directory.owner_uid}:{directory.owner_gid} with mode {directory.mode:04o}"
    next_directory = StateDirectory(
        is_known=True,
        owner_uid=config.game_state_owner_uid,
        owner_gid=config.game_state_owner_gid,
        mode=config.game_state_dir_mode,
    )
    is_fixed = bool(may_write(config.container_user or user, next_directory))
    return DeniedAccess(Cause.PERMISSION_DENIED, what, _advice_for_state(user), is_fixed=is_fixed)


def _advice_for_state(user: str) -> str:
    uid, gid = numbers(user)
    if uid is None:
        return (
            "Set RTMANAGER_GAME_STATE_OWNER_UID and RTMANAGER_GAME_STATE_OWNER_GID to the number of user "
            f"{single_line(user)} in the image (docker run --rm IMAGE id), or RTMANAGER_CONTAINER_USER to the owner of "
            "the directory, and restart Runtime Manager"
        )
    group = f" (and RTMANAGER_GAME_STATE_OWNER_GID={gid})" if gid is not None else ""
    return (
        f"Set RTMANAGER_GAME_STATE_OWNER_UID={uid}{group}, or RTMANAGER_CONTAINER_USER to the owner of the directory, "
        "or RTMANAGER_GAME_STATE_DIR_MODE, and restart Runtime Manager"
    )


def _not_executable(facts: Facts, denial: Denial, limits: Mapping[str, Any]) -> DeniedAccess | None:
    """Every user may write to the temporary directory. With a read-only root, nothing in it may be executed."""
    if not _has_read_only_root(facts, limits):
        return None
    what = f"its engine tried to execute or load {_shown(denial)}, and nothing in {_TMP} may be executed"
    mount = facts.config.engine_state_mount_path
    advice = f"Let the engine unpack its programs and libraries below {mount}; or {_SET_WRITABLE}"
    return DeniedAccess(Cause.PERMISSION_DENIED, what, advice, is_fixed=not facts.config.container_read_only)


def _not_permitted(facts: Facts, denial: Denial, limits: Mapping[str, Any]) -> DeniedAccess | None:
    dropped = [str(name).upper().removeprefix("CAP_") for name in limits.get("cap_drop", ["ALL"])]
    if "ALL" not in dropped or limits.get("privileged", False):
        return None
    if _is_below(denial.path, _TMP):
        return _not_executable(facts, denial, limits)
    where = f" for {_shown(denial)}" if denial.path else ""
    what = f"its engine needs a capability{where}, for example for chown or a change of user, and games have none"
    advice = (
        "Let the engine run as its user from the start: set RTMANAGER_CONTAINER_USER to that user, and "
        "RTMANAGER_GAME_STATE_OWNER_UID and RTMANAGER_GAME_STATE_OWNER_GID to match, and restart Runtime Manager"
    )
    return DeniedAccess(Cause.PERMISSION_DENIED, what, advice)


def _has_read_only_root(facts: Facts, limits: Mapping[str, Any]) -> bool:
    # Without the container, the present setting is the best guess of what was in force.
    return bool(limits.get("read_only", facts.config.container_read_only))


def _shown(denial: Denial) -> str:
    return single_line(denial.path, longest=120)


def _named(user: str) -> str:
    return f"user {single_line(user)}" if user else "root without capabilities"


def _is_in_state(facts: Facts, path: str, limits: Mapping[str, Any]) -> bool:
    mounts = [row["target"] for row in limits.get("mounts", []) if row.get("target") and not row.get("read_only")]
    return _is_below(path, *(mounts or [facts.config.engine_state_mount_path]))


def _is_below(path: str, *directories: str) -> bool:
    clean = PurePosixPath(posixpath.normpath(path)) if path else None
    return clean is not None and any(clean.is_relative_to(directory) for directory in directories)
