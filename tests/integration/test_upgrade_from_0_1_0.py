"""The migrations of this version, run on the filled database of version 0.1.0, forward and back."""

from collections.abc import Iterator, Mapping

import psycopg2
import pytest

from tests.servers.databases import PostgresServer
from tests.servers.old_release import VERSION_0_1_0, OldDatabase

GAME = "old-game"
CONTAINER = "c" * 64

FILL = f"""
INSERT INTO runtimes_runtime (game_id, status, current_container_id, current_image_ref, image_id, engine_endpoint,
        state_path, docker_network, started_at, last_op_at, created_at, fence)
    VALUES ('{GAME}', 'running', '{CONTAINER}', 'engine:1.0.0', 'sha256:1', 'http://galaxy-game-{GAME}:8080',
        '/state/{GAME}', 'galaxy-net', now(), now(), now(), 1);
INSERT INTO operations_operation (game_id, op_kind, op_source, source_ref, job_key, arguments, state, outcome,
        error_code, error_message, container_id, image_ref, engine_endpoint, steps, attempt, deferrals, awaits_image,
        claimed_by, fence, hinted_at, accepted_at, started_at, finished_at)
    VALUES ('{GAME}', 'start', 'lobby_stream', '1-0', 'runtime:start_jobs:1-0', '{{}}', 'finished', 'success', '', '',
        '{CONTAINER}', 'engine:1.0.0', 'http://galaxy-game-{GAME}:8080',
        '[{{"name": "black_box", "duration_ms": 9000}}]', 1, 2, '', 'worker', 1, now(), now(), now(), now());
INSERT INTO operations_operation (game_id, op_kind, op_source, source_ref, job_key, arguments, state, outcome,
        error_code, error_message, container_id, image_ref, engine_endpoint, steps, attempt, deferrals, awaits_image,
        claimed_by, fence, accepted_at)
    VALUES ('{GAME}', 'restart', 'gm_rest', 'r-1', 'rest:1', '{{}}', 'accepted', NULL, '', '', '', '', '', '[]', 0, 3,
        'engine:1.0.0', '', NULL, now());
INSERT INTO operations_blackbox (game_id, container_id, occurrence, cause, occurred_at, captured_at, oom_killed,
        image_ref, image_id, image_digest, note, limits, probes, log, inspect, operation_id, exit_code)
    SELECT '{GAME}', '{CONTAINER}', 'first', 'exited', now(), now(), false, 'engine:1.0.0', '', '', '', '{{}}', '{{}}',
        '["last line"]', '{{}}', min(id), 3 FROM operations_operation;
INSERT INTO operations_imagepull (image_ref, operation_id, fence, began_at, outcome, error_message)
    SELECT 'engine:1.0.0', min(id), 1, now() - interval '1 minute', '', '' FROM operations_operation;
INSERT INTO operations_pulse (name, who, beat_at, detail)
    SELECT name, host, now() - interval '5 minutes', '{{}}'
      FROM (VALUES ('clock', 'host:1'), ('relist', 'host:1'), ('bridge', 'host:2')) AS stopped (name, host);
INSERT INTO operations_tally (series, labels, bucket, number, seconds) VALUES ('black_boxes', 'exited', 0, 41, 0);
"""  # noqa: S608 - constants of this module
VIEWER_OF_REPORTS = """
    SELECT groups.name FROM auth_group AS groups
      JOIN auth_group_permissions AS granted ON granted.group_id = groups.id
      JOIN auth_permission AS permission ON permission.id = granted.permission_id
      JOIN django_content_type AS kind ON kind.id = permission.content_type_id
     WHERE kind.model = %s AND permission.codename = %s ORDER BY 1
"""


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer) -> Iterator[str]:
    """The filled database of version 0.1.0."""
    database = OldDatabase(postgres_server, postgres_server.create_database())
    database.migrate(*VERSION_0_1_0.items())
    postgres_server.execute(database.name, FILL)
    yield database.name
    postgres_server.drop_database(database.name)


@pytest.fixture
def old_database(postgres_server: PostgresServer, template: str) -> Iterator[OldDatabase]:
    database = OldDatabase(postgres_server, postgres_server.create_database(template=template))
    yield database
    postgres_server.drop_database(database.name)


def test_rows_counters_and_permissions_survive_the_upgrade(old_database: OldDatabase) -> None:
    old_database.migrate()

    rows = old_database.rows
    assert rows("SELECT game_id, exit_key, exit_code, log FROM operations_exitreport") == [
        (GAME, "first", 3, ["last line"])
    ]
    assert rows("SELECT name, process FROM operations_heartbeat ORDER BY name") == [
        ("bridge", "host:2"),
        ("full_reconcile", "host:1"),
        ("scheduler", "host:1"),
    ]
    assert rows("SELECT op_kind, retries, waiting_for_image FROM operations_operation ORDER BY id") == [
        ("start", 2, ""),
        ("restart", 3, "engine:1.0.0"),
    ]
    assert rows(VIEWER_OF_REPORTS, "exitreport", "view_exitreport") == [("admin",), ("operator",), ("viewer",)]
    assert rows(VIEWER_OF_REPORTS, "exitreport", "view_blackbox") == []
    assert rows("SELECT count(*) FROM django_content_type WHERE model IN ('blackbox', 'pulse', 'tally')") == [(0,)]


def test_triggers_count_with_the_new_names_after_the_upgrade(old_database: OldDatabase) -> None:
    old_database.migrate()

    old_database.server.execute(
        old_database.name,
        "UPDATE operations_imagepull SET ended_at = now(), outcome = 'success';"
        "UPDATE operations_operation SET retries = retries + 1 WHERE state = 'accepted';"
        "INSERT INTO operations_exitreport SELECT 1000, game_id, container_id, 'second', cause, occurred_at,"
        " captured_at, exit_code, oom_killed, image_ref, image_id, image_digest, note, limits, probes, log, inspect,"
        " operation_id FROM operations_exitreport",
    )

    counted = old_database.rows(
        "SELECT series, labels, number FROM (SELECT series, labels, number FROM operations_metriccounter"
        " UNION ALL SELECT series, labels, number FROM operations_counterincrement) AS both_tables"
        " WHERE series IN ('exit_reports', 'image_pull', 'operations_deferred') ORDER BY 1, 2, 3"
    )
    assert counted == [
        ("exit_reports", "exited", 1),
        # One row of the old database, counted by its trigger before the upgrade, and the old total.
        ("exit_reports", "exited", 1),
        ("exit_reports", "exited", 41),
        ("image_pull", "success", 1),
        ("operations_deferred", "restart", 1),
    ]


def test_the_upgrade_can_be_undone(old_database: OldDatabase) -> None:
    old_database.migrate()

    old_database.migrate(("operations", "0009"))

    assert old_database.rows("SELECT occurrence, exit_code FROM operations_blackbox") == [("first", 3)]
    assert old_database.rows("SELECT name, who FROM operations_pulse ORDER BY name") == [
        ("bridge", "host:2"),
        ("clock", "host:1"),
        ("relist", "host:1"),
    ]
    assert old_database.rows(VIEWER_OF_REPORTS, "blackbox", "view_blackbox") == [("admin",), ("operator",), ("viewer",)]
    old_database.server.execute(old_database.name, "UPDATE operations_imagepull SET ended_at = now()")
    assert ("image_pull", "unknown") in old_database.rows("SELECT series, labels FROM operations_tallyentry")


def test_the_upgrade_waits_until_the_processes_of_the_old_version_are_stopped(old_database: OldDatabase) -> None:
    old_database.server.execute(
        old_database.name,
        "UPDATE operations_pulse SET beat_at = now() WHERE name = 'bridge';"
        "INSERT INTO operations_pulse (name, who, beat_at, detail) VALUES ('worker:host:3', 'host:3', now(), '{}')",
    )

    refused = old_database.try_to_migrate()

    assert refused.returncode == 1
    assert "these migrations need version 0.2.0 or newer, but RTM is running: " in refused.stderr
    assert "bridge (host:2) of version 0.1.0, worker:host:3 (host:3) of version 0.1.0" in refused.stderr
    assert old_database.rows("SELECT count(*) FROM operations_pulse") == [(4,)]


# What processes of version 0.1.0 execute, shortened to what the upgrade concerns. Its relay reads and marks messages,
# whose table did not change; before each pass it writes the heartbeat of its leadership, which fails.
STATEMENTS_OF_0_1_0: Mapping[str, str] = {
    "heartbeat of a loop": "INSERT INTO operations_pulse (name, who, beat_at) VALUES ('relay', 'host:1', now())",
    "bridge and REST: accept": """
        INSERT INTO operations_operation (game_id, op_kind, op_source, source_ref, job_key, arguments, image_ref,
            hinted_at, state, error_code, error_message, container_id, engine_endpoint, steps, attempt, deferrals,
            awaits_image, claimed_by)
        VALUES ('old-game', 'stop', 'lobby_stream', '2-0', 'runtime:stop_jobs:2-0', '{}', '', now(), 'accepted', '', '',
            '', '', '[]', 0, 0, '', '')""",
    "worker: claim": """
        UPDATE operations_operation AS mine SET state = 'running', fence = nextval('operations_fence_seq'),
            attempt = attempt + 1, claimed_by = 'host:9', lease_until = now() + interval '1 minute',
            started_at = coalesce(started_at, now()), not_before = NULL, awaits_image = ''
         WHERE state = 'accepted'""",
    "worker: defer": "UPDATE operations_operation SET state = 'accepted', deferrals = deferrals + 1 WHERE state <> 'x'",
    "worker: begin a pull": """
        INSERT INTO operations_imagepull AS last (image_ref, operation_id, fence, began_at, outcome, error_message)
        SELECT 'engine:2', min(id), 1, now(), '', '' FROM operations_operation""",
    "sweeper: hint": "UPDATE operations_operation SET hinted_at = now() WHERE state = 'accepted'",
    "watcher: keep a report": "INSERT INTO operations_blackbox (game_id) VALUES ('g')",
    "scheduler: fold counters": "INSERT INTO operations_tally (series, labels) VALUES ('s', '')",
}  # fmt: skip


@pytest.mark.parametrize("what", STATEMENTS_OF_0_1_0)
def test_a_process_of_the_old_version_fails_after_the_upgrade_and_changes_nothing(
    old_database: OldDatabase, what: str
) -> None:
    old_database.migrate()
    everything = "SELECT to_jsonb(o) FROM operations_operation AS o ORDER BY id"
    before = old_database.rows(everything), old_database.rows("SELECT last_value FROM operations_fence_seq")

    with pytest.raises((psycopg2.errors.UndefinedColumn, psycopg2.errors.UndefinedTable)):
        old_database.server.execute(old_database.name, STATEMENTS_OF_0_1_0[what])

    assert (old_database.rows(everything), old_database.rows("SELECT last_value FROM operations_fence_seq")) == before
