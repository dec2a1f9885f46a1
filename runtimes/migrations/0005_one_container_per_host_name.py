"""Allow one container per host name: host names have no case, so two game ids that differ only in case share one."""

from typing import Any

from django.core.management.base import CommandError
from django.db import migrations, models
from django.db.models import Q


def refuse_existing_pairs(apps: Any, schema_editor: Any) -> None:
    """Stop with advice, before anything is changed, where two games already share a host name."""
    rows = apps.get_model("runtimes", "Runtime").objects.using(schema_editor.connection.alias)
    names: dict[str, list[str]] = {}
    for game_id in rows.filter(current_container_id__isnull=False).order_by("game_id").values_list("game_id", flat=True):
        names.setdefault(game_id.lower(), []).append(game_id)
    pairs = [games for games in names.values() if len(games) > 1]
    if pairs:
        listed = "\n".join(f"  {' and '.join(games)}" for games in pairs)
        message = (
            "these games have a container each, but ids that differ only in case. Host names have no case, so their "
            f"engines share one host name:\n{listed}\nNothing of this migration was changed. With the version that ran "
            "before, stop all but one game of each line and clean it up (POST .../stop, then DELETE .../container; "
            "the state directory stays). Then run manage.py migrate again."
        )
        raise CommandError(message)


class Migration(migrations.Migration):
    dependencies = [("runtimes", "0004_ended_by")]

    operations = [
        migrations.RunPython(refuse_existing_pairs, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="runtime",
            constraint=models.UniqueConstraint(
                models.Func(
                    "game_id", template='lower(%(expressions)s COLLATE "C")', output_field=models.TextField()
                ),
                condition=Q(current_container_id__isnull=False),
                name="runtime_one_container_per_host_name",
            ),
        ),
    ]
