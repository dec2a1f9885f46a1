"""Nobody looks for the beginning of a job key or a dedupe key, so nobody has to keep an index for it.

Django makes one for each unique text, and every change of state of an operation wrote to it.
"""

from typing import ClassVar

from django.db import migrations

_INDEXES = {
    "operations_operation_job_key_9d300baf_like": "operations_operation (job_key varchar_pattern_ops)",
    "operations_outboxevent_dedupe_key_a10003a3_like": "operations_outboxevent (dedupe_key varchar_pattern_ops)",
}


class Migration(migrations.Migration):
    """Drops two indexes."""

    dependencies: ClassVar = [("operations", "0007_tally_replays")]

    operations: ClassVar = [
        migrations.RunSQL(f"DROP INDEX IF EXISTS {name}", f"CREATE INDEX {name} ON {columns}")
        for name, columns in _INDEXES.items()
    ]
