"""Where Celery keeps the results of the periodic tasks."""

from types import SimpleNamespace

from celery import Celery

from rtmanager.celery import configure_worker
from tests.conftest import RtmSettings
from tests.servers.databases import PostgresServer


def test_results_are_stored_in_the_database_and_schema_of_the_settings(
    postgres_server: PostgresServer, rtm_settings: RtmSettings
) -> None:
    name = postgres_server.create_database()
    postgres_server.execute(name, "CREATE SCHEMA games")
    rtm_settings(database_url=f"{postgres_server.url(name)}?search_path=games")
    app = Celery("results")
    configure_worker(SimpleNamespace(), app.conf)

    app.backend.store_result("task-1", {"checked": 3}, "SUCCESS")

    stored = postgres_server.rows(name, "SELECT task_id, status FROM games.celery_taskmeta")
    assert stored == [("task-1", "SUCCESS")]
    assert app.backend.get_result("task-1") == {"checked": 3}
    postgres_server.drop_database(name)
