"""Each migration says whether processes of the version before work with its tables; see CONTRIBUTING."""

from collections.abc import Iterator

import pytest
from django.db import migrations, models
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

# The migrations of version 0.2.0. The upgrade to it stops all processes, so they may do anything.
OF_0_2_0 = {"runtimes": 8, "operations": 11, "console": 1}
_ONLY_ADDING = (
    migrations.CreateModel,
    migrations.AddIndex,
    migrations.RemoveIndex,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
)


def only_adds(operation: Operation) -> bool:
    """Whether processes that do not know this change work as before."""
    if isinstance(operation, migrations.AddField):
        field = operation.field
        return bool(field.null or field.db_default is not models.NOT_PROVIDED or field.many_to_many)
    return isinstance(operation, _ONLY_ADDING)


def unclear(migration: Migration) -> Iterator[str]:
    """What a migration does not say, but should."""
    if not hasattr(migration, "oldest_version"):
        yield from (repr(operation) for operation in migration.operations if not only_adds(operation))


def test_every_migration_only_adds_or_names_the_oldest_version_that_works_with_it() -> None:
    numbered = {
        (app, int(name.partition("_")[0])): migration
        for (app, name), migration in MigrationLoader(None).disk_migrations.items()
        if app in OF_0_2_0
    }
    later = [migration for (app, number), migration in numbered.items() if number > OF_0_2_0[app]]

    assert set(OF_0_2_0.items()) <= set(numbered)
    assert {str(migration): changes for migration in later if (changes := list(unclear(migration)))} == {}


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("operation", "note", models.TextField(null=True)),
        migrations.AddField("operation", "note", models.TextField(db_default="")),
        migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True))]),
    ],
)
def test_what_only_adds_needs_no_word(operation: Operation) -> None:
    assert only_adds(operation)


@pytest.mark.parametrize(
    "operation",
    [
        # Older processes insert rows without it.
        migrations.AddField("operation", "note", models.TextField()),
        migrations.AddField("operation", "note", models.TextField(default="")),
        migrations.RemoveField("operation", "note"),
        migrations.RenameField("operation", "note", "remark"),
        migrations.RenameModel("Operation", "Job"),
        migrations.DeleteModel("Operation"),
        migrations.AlterField("operation", "note", models.TextField()),
        migrations.AddConstraint("operation", models.CheckConstraint(condition=models.Q(id=1), name="one")),
        migrations.RunSQL("DROP TABLE operations_operation"),
        migrations.RunPython(migrations.RunPython.noop),
    ],
)
def test_everything_else_must_name_the_oldest_version(operation: Operation) -> None:
    migration = type("Change", (Migration,), {"operations": [operation]})("0099_change", "operations")

    assert list(unclear(migration)) == [repr(operation)]

    migration.oldest_version = ""
    assert list(unclear(migration)) == []
