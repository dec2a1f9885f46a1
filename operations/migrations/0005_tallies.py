from django.db import migrations, models

# The bounds stand in operations/monitoring/counters.py too; a test holds the two against each other.
TRIGGERS = """
CREATE FUNCTION operations_tally_bucket(seconds double precision) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT width_bucket(seconds, ARRAY[0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900]::float8[])::smallint
$$;

CREATE FUNCTION operations_tally_operation() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NEW.state = 'finished' AND OLD.state <> 'finished' THEN
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
CREATE TRIGGER operation_is_tallied AFTER UPDATE ON operations_operation FOR EACH ROW
    WHEN ((NEW.state = 'finished' AND OLD.state <> 'finished') OR NEW.deferrals > OLD.deferrals
          OR (OLD.state = 'running' AND NEW.fence > OLD.fence))
    EXECUTE FUNCTION operations_tally_operation();

CREATE FUNCTION operations_tally_queued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_tallyentry (series, labels, number)
        SELECT 'health_events', left(fields ->> 'event_type', 40), count(*) FROM added
         WHERE topic = 'health_events' AND fields ->> 'event_type' IS NOT NULL GROUP BY 2;
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_is_tallied AFTER INSERT ON operations_outboxevent REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION operations_tally_queued();

CREATE FUNCTION operations_tally_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_tallyentry (series, labels, bucket, number, seconds)
        SELECT 'event_publication', topic, operations_tally_bucket(seconds), count(*), sum(seconds)
          FROM (SELECT after.topic, greatest(0, extract(epoch FROM after.published_at - after.created_at))
                           ::double precision AS seconds
                  FROM later AS after JOIN earlier AS before USING (id)
                 WHERE after.published_at IS NOT NULL AND before.published_at IS NULL) AS published
         GROUP BY 1, 2, 3;
    RETURN NULL;
END $$;
CREATE TRIGGER publication_is_tallied AFTER UPDATE ON operations_outboxevent
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later
    FOR EACH STATEMENT EXECUTE FUNCTION operations_tally_published();

CREATE FUNCTION operations_tally_pull() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    pulled double precision := greatest(0, extract(epoch FROM NEW.ended_at - NEW.began_at));
BEGIN
    INSERT INTO operations_tallyentry (series, labels, bucket, seconds)
        VALUES ('image_pull', coalesce(nullif(NEW.outcome, ''), 'unknown'), operations_tally_bucket(pulled), pulled);
    RETURN NULL;
END $$;
CREATE TRIGGER pull_is_tallied AFTER UPDATE ON operations_imagepull FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION operations_tally_pull();

CREATE FUNCTION operations_tally_letter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_tallyentry (series, labels)
        VALUES (CASE TG_OP WHEN 'INSERT' THEN 'dead_letters' ELSE 'dead_letters_redriven' END, left(NEW.stream, 160));
    RETURN NULL;
END $$;
CREATE TRIGGER letter_is_tallied AFTER INSERT ON operations_deadletter FOR EACH ROW
    EXECUTE FUNCTION operations_tally_letter();
CREATE TRIGGER redrive_is_tallied AFTER UPDATE ON operations_deadletter FOR EACH ROW
    WHEN (OLD.redriven_at IS NULL AND NEW.redriven_at IS NOT NULL) EXECUTE FUNCTION operations_tally_letter();

CREATE FUNCTION operations_tally_box() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO operations_tallyentry (series, labels) VALUES ('black_boxes', NEW.cause);
    RETURN NULL;
END $$;
CREATE TRIGGER box_is_tallied AFTER INSERT ON operations_blackbox FOR EACH ROW
    EXECUTE FUNCTION operations_tally_box();
"""

NO_TRIGGERS = """
DROP TRIGGER box_is_tallied ON operations_blackbox;
DROP TRIGGER redrive_is_tallied ON operations_deadletter;
DROP TRIGGER letter_is_tallied ON operations_deadletter;
DROP TRIGGER pull_is_tallied ON operations_imagepull;
DROP TRIGGER publication_is_tallied ON operations_outboxevent;
DROP TRIGGER outbox_is_tallied ON operations_outboxevent;
DROP TRIGGER operation_is_tallied ON operations_operation;
DROP FUNCTION operations_tally_box, operations_tally_letter, operations_tally_pull, operations_tally_published,
    operations_tally_queued, operations_tally_operation, operations_tally_bucket;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('operations', '0004_black_boxes'),
    ]

    operations = [
        migrations.CreateModel(
            name='Tally',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('series', models.CharField(max_length=40)),
                ('labels', models.CharField(blank=True, default='', max_length=160)),
                ('bucket', models.SmallIntegerField(default=0)),
                ('number', models.BigIntegerField(default=0)),
                ('seconds', models.FloatField(default=0.0)),
            ],
            options={
                'verbose_name_plural': 'tallies',
                'constraints': [models.UniqueConstraint(fields=('series', 'labels', 'bucket'), name='tally_one_per_bucket')],
            },
        ),
        migrations.CreateModel(
            name='TallyEntry',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('series', models.CharField(max_length=40)),
                ('labels', models.CharField(blank=True, db_default='', max_length=160)),
                ('bucket', models.SmallIntegerField(db_default=0)),
                ('number', models.BigIntegerField(db_default=1)),
                ('seconds', models.FloatField(db_default=0.0)),
            ],
            options={
                'verbose_name_plural': 'tally entries',
            },
        ),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
    ]
