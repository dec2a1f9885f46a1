"""The tables of Celery's result backend, which creates them itself only if its role may create tables."""

from django.db import migrations

# A worker of an earlier version may have created them, and the owner of a table may be another role.
_CREATE = """
    DO $$ BEGIN IF to_regclass('celery_taskmeta') IS NULL THEN
    CREATE SEQUENCE task_id_sequence;
    CREATE TABLE celery_taskmeta (
           id integer PRIMARY KEY,
           task_id varchar(155) UNIQUE,
           status varchar(50),
           result bytea,
           date_done timestamp,
           traceback text,
           children bytea,
           name varchar(155),
           args bytea,
           kwargs bytea,
           worker varchar(155),
           retries integer,
           queue varchar(155),
           stamps bytea);
    CREATE INDEX ix_celery_taskmeta_date_done ON celery_taskmeta (date_done);
    CREATE SEQUENCE taskset_id_sequence;
    CREATE TABLE celery_tasksetmeta (
           id integer PRIMARY KEY,
           taskset_id varchar(155) UNIQUE,
           result bytea,
           date_done timestamp);
    CREATE INDEX ix_celery_tasksetmeta_date_done ON celery_tasksetmeta (date_done);
    END IF; END $$
"""
_DROP = """
    DROP TABLE celery_taskmeta, celery_tasksetmeta;
    DROP SEQUENCE task_id_sequence, taskset_id_sequence;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('operations', '0010_standard_names'),
    ]

    operations = [
        migrations.RunSQL(_CREATE, _DROP),
    ]
