"""Expand: processes of this release ignore the column."""

from pkgutil import iter_modules

from django.db import migrations, models

from operations import migrations as current

_LAST = max(module.name for module in iter_modules(current.__path__))


class Migration(migrations.Migration):
    dependencies = [("operations", _LAST)]

    operations = [
        migrations.AddField(model_name="operation", name="note_of_next", field=models.TextField(null=True)),
    ]
