"""Contract: the next release does not need the column any more, older ones are taken to need it."""

from django.db import migrations


class Migration(migrations.Migration):
    oldest_version = "0.3.0"

    dependencies = [("operations", "9001_add_column")]

    operations = [
        migrations.RemoveField(model_name="operation", name="note_of_next"),
    ]
