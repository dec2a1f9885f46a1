"""What the console tests share: signed-in users of each group, games and operations."""

from datetime import UTC, datetime
from importlib import import_module

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from operations.models import Operation
from runtimes.models import Runtime

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
IMAGE = "galaxy-engine:1.0.0"


def make_groups() -> None:
    """Create the groups again: emptying the database between tests removes what the migration created."""
    for name, permissions in import_module("rtmanager.console.migrations.0001_groups").GROUPS.items():
        group, _is_new = Group.objects.get_or_create(name=name)
        # The migration uses the old name of the model; operations.0010 renames the model and its permissions.
        group.permissions.set(
            Permission.objects.get(content_type__app_label=label, codename=codename.replace("blackbox", "exitreport"))
            for label, codename in permissions
        )


def signed_in(group: str) -> Client:
    """A browser in which a user of this group, and of no other, has signed in."""
    make_groups()
    user = User.objects.create_user(f"{group}-user", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def add_game(game_id: str, status: str = "running") -> Runtime:
    """A record as an earlier operation wrote it."""
    is_removed = status == "removed"
    return Runtime.objects.create(
        game_id=game_id,
        status=status,
        current_container_id=None if is_removed else f"{abs(hash(game_id)):064x}",
        current_image_ref=IMAGE,
        started_at=AT,
        removed_at=AT if is_removed else None,
        last_op_at=AT,
        created_at=AT,
    )


def add_operation(game_id: str, number: int, **more: object) -> Operation:
    """A finished start, changed by ``more``."""
    values = {
        "op_kind": "start",
        "op_source": "lobby_stream",
        "state": "finished",
        "outcome": "success",
        "started_at": AT,
        "finished_at": AT,
        **more,
    }
    return Operation.objects.create(game_id=game_id, job_key=f"{game_id}:{number}", **values)
