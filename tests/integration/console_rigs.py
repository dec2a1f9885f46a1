"""What the tests of the console share: people of each group, and games with a past."""

from datetime import UTC, datetime
from importlib import import_module

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from operations.models import Operation
from runtimes.models import Runtime

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
IMAGE = "galaxy-engine:1.0.0"


def make_groups() -> None:
    """What the migration has made, and the emptying between two tests has taken away."""
    with connection.schema_editor() as editor:
        import_module("rtmanager.console.migrations.0001_groups").make_groups(apps, editor)


def signed_in(group: str) -> Client:
    """A browser of somebody who is in this group and nothing else."""
    make_groups()
    person = User.objects.create_user(f"{group}-person", is_staff=True)
    person.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(person)
    return client


def add_game(game_id: str, status: str = "running") -> Runtime:
    """A record as an earlier operation left it."""
    gone = status == "removed"
    return Runtime.objects.create(
        game_id=game_id,
        status=status,
        current_container_id=None if gone else f"{abs(hash(game_id)):064x}",
        current_image_ref=IMAGE,
        started_at=AT,
        removed_at=AT if gone else None,
        last_op_at=AT,
        created_at=AT,
    )


def add_operation(game_id: str, number: int, **more: object) -> Operation:
    """A finished start, or what ``more`` makes of it."""
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
