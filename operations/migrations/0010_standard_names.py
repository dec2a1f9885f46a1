"""Standard names for models, fields, constraints and triggers.

The triggers are dropped, the tables renamed, and the triggers created with the new names. PostgreSQL runs this in one
transaction. Writers wait for it; it takes milliseconds, because no table is rewritten.
"""

from importlib import import_module
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

_OLD = import_module("operations.migrations.0005_tallies")
_OLD_NO_OPS = import_module("operations.migrations.0007_tally_replays")

# The bounds are also in operations/monitoring/counters.py; a test compares them.
TRIGGERS = """
CREATE FUNCTION operations_counter_bucket(seconds double precision) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT width_bucket(seconds, ARRAY[0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900]::float8[])::smallint
$$;

CREATE FUNCTION operations_count_operation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    waited double precision;
    ran double precision;
    in_docker double precision;
BEGIN
    IF OLD.state = 'running' AND NEW.fence > OLD.fence THEN
        INSERT INTO operations_counterincrement (series, labels) VALUES ('operations_taken_over', NEW.op_kind);
    END IF;
    IF NEW.retries > OLD.retries THEN
        INSERT INTO operations_counterincrement (series, labels) VALUES ('operations_deferred', NEW.op_kind);
    END IF;
    IF NEW.state = 'finished' AND OLD.state IS DISTINCT FROM 'finished' THEN
        waited := greatest(0, extract(epoch FROM coalesce(NEW.started_at, NEW.finished_at) - NEW.accepted_at));
        ran := greatest(0, extract(epoch FROM NEW.finished_at - coalesce(NEW.started_at, NEW.finished_at)));
        -- Lax mode, numbers only: counting must never make an operation fail.
        SELECT coalesce(sum(duration::float8), 0) / 1000 INTO in_docker FROM jsonb_path_query(NEW.steps,
            'lax $[*] ? (@.name != "settle" && @.name != "prepare_state" && @.name != "black_box" && @.name != "exit_report").duration_ms
             ? (@.type() == "number")') AS duration;
        INSERT INTO operations_counterincrement (series, labels, bucket, seconds) VALUES
            ('operations_finished', concat_ws(',', NEW.op_kind, NEW.outcome, NEW.error_code), 0, 0),
            ('operation_wait', NEW.op_kind, operations_counter_bucket(waited), waited),
            ('operation_run', NEW.op_kind, operations_counter_bucket(ran), ran),
            ('operation_docker', NEW.op_kind, operations_counter_bucket(in_docker), in_docker);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER operation_is_counted AFTER UPDATE ON operations_operation FOR EACH ROW
    WHEN ((NEW.state = 'finished' AND OLD.state <> 'finished') OR NEW.retries > OLD.retries
          OR (OLD.state = 'running' AND NEW.fence > OLD.fence))
    EXECUTE FUNCTION operations_count_operation();

CREATE FUNCTION operations_count_queued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_counterincrement (series, labels, number)
        SELECT 'health_events', left(fields ->> 'event_type', 40), count(*) FROM added
         WHERE topic = 'health_events' AND fields ->> 'event_type' IS NOT NULL GROUP BY 2;
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_is_counted AFTER INSERT ON operations_outboxevent REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION operations_count_queued();

CREATE FUNCTION operations_count_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_counterincrement (series, labels, bucket, number, seconds)
        SELECT 'event_publication', topic, operations_counter_bucket(seconds), count(*), sum(seconds)
          FROM (SELECT after.topic, greatest(0, extract(epoch FROM after.published_at - after.created_at))
                           ::double precision AS seconds
                  FROM later AS after JOIN earlier AS before USING (id)
                 WHERE after.published_at IS NOT NULL AND before.published_at IS NULL) AS published
         GROUP BY 1, 2, 3;
    RETURN NULL;
END $$;
CREATE TRIGGER publication_is_counted AFTER UPDATE ON operations_outboxevent
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later
    FOR EACH STATEMENT EXECUTE FUNCTION operations_count_published();

CREATE FUNCTION operations_count_pull() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    pulled double precision := greatest(0, extract(epoch FROM NEW.ended_at - NEW.started_at));
BEGIN
    INSERT INTO operations_counterincrement (series, labels, bucket, seconds)
        VALUES ('image_pull', coalesce(nullif(NEW.outcome, ''), 'unknown'), operations_counter_bucket(pulled), pulled);
    RETURN NULL;
END $$;
CREATE TRIGGER pull_is_counted AFTER UPDATE ON operations_imagepull FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION operations_count_pull();

CREATE FUNCTION operations_count_dead_letter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_counterincrement (series, labels)
        VALUES (CASE TG_OP WHEN 'INSERT' THEN 'dead_letters' ELSE 'dead_letters_redriven' END, left(NEW.stream, 160));
    RETURN NULL;
END $$;
CREATE TRIGGER dead_letter_is_counted AFTER INSERT ON operations_deadletter FOR EACH ROW
    EXECUTE FUNCTION operations_count_dead_letter();
CREATE TRIGGER redrive_is_counted AFTER UPDATE ON operations_deadletter FOR EACH ROW
    WHEN (OLD.redriven_at IS NULL AND NEW.redriven_at IS NOT NULL) EXECUTE FUNCTION operations_count_dead_letter();

CREATE FUNCTION operations_count_exit_report() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_counterincrement (series, labels) VALUES ('exit_reports', NEW.cause);
    RETURN NULL;
END $$;
CREATE TRIGGER exit_report_is_counted AFTER INSERT ON operations_exitreport FOR EACH ROW
    EXECUTE FUNCTION operations_count_exit_report();
"""

NO_TRIGGERS = """
DROP TRIGGER operation_is_counted ON operations_operation;
DROP TRIGGER outbox_is_counted ON operations_outboxevent;
DROP TRIGGER publication_is_counted ON operations_outboxevent;
DROP TRIGGER pull_is_counted ON operations_imagepull;
DROP TRIGGER dead_letter_is_counted ON operations_deadletter;
DROP TRIGGER redrive_is_counted ON operations_deadletter;
DROP TRIGGER exit_report_is_counted ON operations_exitreport;
DROP FUNCTION operations_counter_bucket,
    operations_count_operation,
    operations_count_queued,
    operations_count_published,
    operations_count_pull,
    operations_count_dead_letter,
    operations_count_exit_report;
"""

# Values that name something renamed.
VALUES = """
UPDATE operations_metriccounter SET series = 'exit_reports' WHERE series = 'black_boxes';
UPDATE operations_counterincrement SET series = 'exit_reports' WHERE series = 'black_boxes';
UPDATE operations_heartbeat SET name = 'scheduler' WHERE name = 'clock';
UPDATE operations_heartbeat SET name = 'full_reconcile' WHERE name = 'relist';
"""
OLD_VALUES = """
UPDATE operations_metriccounter SET series = 'black_boxes' WHERE series = 'exit_reports';
UPDATE operations_counterincrement SET series = 'black_boxes' WHERE series = 'exit_reports';
UPDATE operations_heartbeat SET name = 'clock' WHERE name = 'scheduler';
UPDATE operations_heartbeat SET name = 'relist' WHERE name = 'full_reconcile';
"""
_RENAMED_MODELS = {
    "blackbox": "exitreport",
    "pulse": "heartbeat",
    "tally": "metriccounter",
    "tallyentry": "counterincrement",
    "enginerun": "daemonrun",
}


def _rename_permissions(apps: Any, names: dict[str, str]) -> None:
    """Groups and users keep their permissions: Django renames the content type, but not the codenames."""
    permission_model = apps.get_model("auth", "Permission")
    for old, new in names.items():
        for permission in permission_model.objects.filter(content_type__app_label="operations"):
            action, _, model = permission.codename.partition("_")
            if model == old:
                permission.codename = f"{action}_{new}"
                permission.save(update_fields=["codename"])


def rename_permissions(apps: Any, _schema_editor: Any) -> None:
    """Forward."""
    _rename_permissions(apps, _RENAMED_MODELS)


def restore_permissions(apps: Any, _schema_editor: Any) -> None:
    """Backward."""
    _rename_permissions(apps, {new: old for old, new in _RENAMED_MODELS.items()})


class Migration(migrations.Migration):
    # Version 0.1.0 does not know the new names.
    oldest_version = "0.2.0"

    dependencies = [
        ("operations", "0009_engine_runs"),
        # It creates the groups with the old names of the permissions.
        ("console", "0001_groups"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RunSQL(
            _OLD_NO_OPS.UNDO + _OLD.NO_TRIGGERS,
            _OLD.TRIGGERS + _OLD_NO_OPS.CHANGE,
        ),
        migrations.RenameModel("BlackBox", "ExitReport"),
        migrations.RenameModel("Pulse", "Heartbeat"),
        migrations.RenameModel("Tally", "MetricCounter"),
        migrations.RenameModel("TallyEntry", "CounterIncrement"),
        migrations.RenameModel("EngineRun", "DaemonRun"),
        migrations.RemoveConstraint(
            model_name="exitreport",
            name="black_box_one_per_end",
        ),
        migrations.RemoveConstraint(
            model_name="exitreport",
            name="black_box_cause_known",
        ),
        migrations.RemoveConstraint(
            model_name="metriccounter",
            name="tally_one_per_bucket",
        ),
        migrations.RenameField("operation", "hinted_at", "notified_at"),
        migrations.RenameField("operation", "awaits_image", "waiting_for_image"),
        migrations.RenameField("operation", "deferrals", "retries"),
        migrations.RenameField("imagepull", "began_at", "started_at"),
        migrations.RenameField("heartbeat", "beat_at", "seen_at"),
        migrations.RenameField("heartbeat", "who", "process"),
        migrations.RenameField("exitreport", "occurrence", "exit_key"),
        migrations.AlterModelOptions(
            name="counterincrement",
            options={"verbose_name_plural": "counter increments"},
        ),
        migrations.AlterModelOptions(
            name="exitreport",
            options={"ordering": ["-id"], "verbose_name": "exit report", "verbose_name_plural": "exit reports"},
        ),
        migrations.AlterModelOptions(
            name="metriccounter",
            options={"verbose_name_plural": "metric counters"},
        ),
        # The condition names the renamed field, which RenameIndex does not know. PostgreSQL renames it without a scan.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER INDEX operation_awaiting_image RENAME TO operation_waiting_for_image",
                    "ALTER INDEX operation_waiting_for_image RENAME TO operation_awaiting_image",
                )
            ],
            state_operations=[
                migrations.RemoveIndex("operation", "operation_awaiting_image"),
                migrations.AddIndex(
                    "operation",
                    models.Index(
                        condition=models.Q(("waiting_for_image", ""), _negated=True),
                        fields=["id"],
                        name="operation_waiting_for_image",
                    ),
                ),
            ],
        ),
        migrations.RenameIndex(
            model_name="exitreport",
            new_name="exit_report_by_game",
            old_name="black_box_by_game",
        ),
        migrations.AlterField(
            model_name="exitreport",
            name="operation",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="exit_reports",
                to="operations.operation",
            ),
        ),
        migrations.AddConstraint(
            model_name="exitreport",
            constraint=models.UniqueConstraint(fields=("container_id", "exit_key"), name="exit_report_one_per_end"),
        ),
        migrations.AddConstraint(
            model_name="exitreport",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("cause__in", ["exited", "oom", "crash_at_start", "disappeared", "replaced", "stopped", "removed"])
                ),
                name="exit_report_cause_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="metriccounter",
            constraint=models.UniqueConstraint(fields=("series", "labels", "bucket"), name="counter_one_per_bucket"),
        ),
        migrations.RemoveConstraint(
            model_name="deadletter",
            name="dead_letter_redriven_by_somebody",
        ),
        migrations.AlterField(
            model_name="exitreport",
            name="cause",
            field=models.CharField(
                choices=[
                    ("exited", "exited or was killed"),
                    ("oom", "out of memory"),
                    ("crash_at_start", "crashed at its start"),
                    ("disappeared", "disappeared"),
                    ("replaced", "replaced while unhealthy"),
                    ("stopped", "stopped on request"),
                    ("removed", "removed after a failed operation"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="deadletter",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("redriven_as__isnull", True), ("redriven_at__isnull", True), ("redriven_by", "")),
                    models.Q(("redriven_at__isnull", False), models.Q(("redriven_by", ""), _negated=True)),
                    _connector="OR",
                ),
                name="dead_letter_redriven_by_known",
            ),
        ),
        migrations.RunSQL(VALUES, OLD_VALUES),
        migrations.RunPython(rename_permissions, restore_permissions),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
    ]
