from django.db import migrations

# As in 0005, but for rows that are put on record as finished too; for those OLD is null.
CHANGE = """
CREATE OR REPLACE FUNCTION operations_tally_operation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    waited double precision;
    ran double precision;
    in_docker double precision;
BEGIN
    IF OLD.state = 'running' AND NEW.fence > OLD.fence THEN
        INSERT INTO operations_tallyentry (series, labels) VALUES ('operations_taken_over', NEW.op_kind);
    END IF;
    IF NEW.deferrals > OLD.deferrals THEN
        INSERT INTO operations_tallyentry (series, labels) VALUES ('operations_deferred', NEW.op_kind);
    END IF;
    IF NEW.state = 'finished' AND OLD.state IS DISTINCT FROM 'finished' THEN
        waited := greatest(0, extract(epoch FROM coalesce(NEW.started_at, NEW.finished_at) - NEW.accepted_at));
        ran := greatest(0, extract(epoch FROM NEW.finished_at - coalesce(NEW.started_at, NEW.finished_at)));
        -- Lax, and of numbers only: to count must never be what makes an operation fail.
        SELECT coalesce(sum(duration::float8), 0) / 1000 INTO in_docker FROM jsonb_path_query(NEW.steps,
            'lax $[*] ? (@.name != "settle" && @.name != "prepare_state" && @.name != "black_box").duration_ms
             ? (@.type() == "number")') AS duration;
        INSERT INTO operations_tallyentry (series, labels, bucket, seconds) VALUES
            ('operations_finished', concat_ws(',', NEW.op_kind, NEW.outcome, NEW.error_code), 0, 0),
            ('operation_wait', NEW.op_kind, operations_tally_bucket(waited), waited),
            ('operation_run', NEW.op_kind, operations_tally_bucket(ran), ran),
            ('operation_docker', NEW.op_kind, operations_tally_bucket(in_docker), in_docker);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER replay_is_tallied AFTER INSERT ON operations_operation FOR EACH ROW
    WHEN (NEW.state = 'finished') EXECUTE FUNCTION operations_tally_operation();
"""
# The function does for updates alone what it did before.
UNDO = "DROP TRIGGER replay_is_tallied ON operations_operation;"


class Migration(migrations.Migration):

    dependencies = [
        ('operations', '0006_rare_operations'),
    ]

    operations = [
        migrations.RunSQL(CHANGE, UNDO),
    ]
