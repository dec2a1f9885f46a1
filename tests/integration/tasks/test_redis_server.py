"""Failover, a full server, a socket with a password, and users with few rights: on a Valkey of each test."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection

from deploy.local.servers.valkey import find_binary
from operations.completion_notifier import completion_notifier
from rtmanager.redis_urls import parse_redis_url
from tasks.streams.base import Publication, StreamRefusedError, StreamsUnavailableError
from tasks.streams.redis.client import describe_server
from tasks.streams.redis.events import RedisEventStreams
from tasks.streams.redis.jobs import RedisJobStreams
from tests.conftest import RtmSettings
from tests.paths import ROOT
from tests.servers.databases import free_port
from tests.servers.waiting import wait_for

JOBS = ["runtime:start_jobs", "runtime:stop_jobs"]
RESULT = Publication("runtime:job_results", "job-1", {"game_id": "g"})


class Valkey:
    """One server with a port and a socket."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port, self.socket = free_port(), folder / "valkey.sock"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = [str(find_binary()), "--port", str(self.port), "--unixsocket", str(self.socket), "--save", ""]
        self.process = subprocess.Popen([*command, "--dir", str(folder), *arguments], stdout=subprocess.DEVNULL)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def answers(self) -> bool:
        try:
            self.client().ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        return True


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Valkey]:
    """A server for the block."""
    server = Valkey(folder, *arguments)
    try:
        wait_for(server.answers, what="Valkey to answer")
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=30)


@pytest.fixture
def valkey(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Valkey]:
    with running(tmp_path, *getattr(request, "param", ())) as server:
        yield server


def test_connections_to_a_demoted_primary_are_closed_by_publishing_and_reading(valkey: Valkey) -> None:
    events, jobs = RedisEventStreams(valkey.url), RedisJobStreams(valkey.url, names=JOBS)
    events.publish_once([RESULT])
    jobs.ensure_group()
    jobs.read_new(count=1, block_ms=0)
    admin = valkey.client()
    before = {client["id"] for client in admin.client_list()}
    admin.replicaof("127.0.0.1", free_port())

    for call in (
        lambda: events.publish_once([Publication("runtime:job_results", "job-2", {"game_id": "g"})]),
        lambda: jobs.read_new(count=1, block_ms=0),
    ):
        with pytest.raises(StreamsUnavailableError, match="Redis is a replica now") as refused:
            call()
        assert not isinstance(refused.value, StreamRefusedError)

    assert len(before & {client["id"] for client in admin.client_list()}) == 1
    admin.replicaof("NO", "ONE")
    assert len(events.publish_once([RESULT])) == 1
    jobs.read_new(count=1, block_ms=0)


@pytest.mark.parametrize("valkey", [("--maxmemory-policy", "noeviction")], indirect=True)
def test_a_full_server_is_named_by_readiness_and_doctor(valkey: Valkey, rtm_settings: RtmSettings) -> None:
    rtm_settings(redis_url=valkey.url)
    completion_notifier().ping()
    valkey.client().config_set("maxmemory", "1")

    with pytest.raises(StreamsUnavailableError, match="maxmemory"):
        completion_notifier().ping()
    assert "maxmemory" in describe_server(valkey.url, names=JOBS, stack="default").refusal_of_writes


@pytest.mark.parametrize("valkey", [("--requirepass", "p@ss/w")], indirect=True)
def test_a_socket_with_a_password_works_for_streams_and_broker(valkey: Valkey) -> None:
    url = f"unix://{valkey.socket}?password=p%40ss%2Fw"

    assert RedisEventStreams(url).publish_once([RESULT])
    with Connection(parse_redis_url(url).for_celery(database=1)) as broker:
        assert ping(broker)


def ping(broker: Connection) -> bool:
    broker.ensure_connection(max_retries=1, interval_start=0, reraise_as_library_errors=False)
    channel: Any = broker.channel()
    return bool(channel.client.ping())


def documented_users() -> list[str]:
    """The ACL rules of docs/production.md."""
    lines = (ROOT / "docs" / "production.md").read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("ACL SETUSER ") for line in lines if line.startswith("ACL SETUSER ")]


def as_user(server: Valkey, name: str) -> redis.Redis:
    return server.client(username=name, password=f"{name}-password")


def create_documented_users(server: Valkey) -> Any:
    """Create the users; return the client of the administrator."""
    admin: Any = server.client()
    for rule in documented_users():
        admin.execute_command("ACL", "SETUSER", *rule.replace("PASSWORD", f"{rule.split()[0]}-password").split())
    return admin


@pytest.fixture(scope="module")
def server_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for all refusals: none of them changes it."""
    with running(tmp_path_factory.mktemp("valkey")) as server:
        create_documented_users(server)
        yield server


def test_the_documented_users_can_do_their_work(valkey: Valkey) -> None:
    admin = create_documented_users(valkey)
    lobby, gm = as_user(valkey, "lobby"), as_user(valkey, "gm")
    url = f"redis://rtm:rtm-password@127.0.0.1:{valkey.port}/0"
    jobs, events = RedisJobStreams(url, names=JOBS), RedisEventStreams(url)

    lobby.xadd(JOBS[0], {"game_id": "g"})
    jobs.ensure_group()
    entries = jobs.read_new(count=1, block_ms=10).entries
    jobs.pending()
    jobs.backlogs()
    jobs.acknowledge(entries)
    events.publish_once([RESULT, Publication("runtime:health_events", "e", {"game_id": "g"})])
    events.last_entry_id("runtime:job_results")
    assert describe_server(url, names=JOBS, stack="default").refusal_of_writes == ""
    assert lobby.xread({"runtime:job_results": "0"})
    assert gm.xread({"runtime:health_events": "0"})
    # As in rtmanager/settings.py.
    options = {"global_keyprefix": "rtm:default:celery:"}
    with Connection(parse_redis_url(url).for_celery(database=1), transport_options=options) as broker:
        queue = broker.SimpleQueue("lifecycle")
        queue.put("hello")
        assert queue.get(timeout=3).payload == "hello"
        queue.close()

    assert [denied for denied in admin.acl_log() if denied["username"] == "rtm"] == []


# What each user must not do: on the broker, with the jobs and keys of others, and with the server.
REFUSED = {
    "lobby": [
        "LPUSH rtm:default:celery:lifecycle x", "BRPOP rtm:default:celery:lifecycle 1",
        "LRANGE rtm:default:celery:lifecycle 0 1", "PUBLISH /1.celery.pidbox x", "SUBSCRIBE /1.celery.pidbox",
        "GET rtm:default:writable", "SET rtm:default:writable x", "XADD runtime:job_results * game_id g",
        "XADD runtime:health_events * game_id g", "XADD other * game_id g", "XREAD STREAMS runtime:health_events 0",
        "XDEL runtime:start_jobs 1-1", "XTRIM runtime:start_jobs MAXLEN 0",
        "XGROUP DESTROY runtime:start_jobs rtmanager",
        "XREADGROUP GROUP rtmanager bridge STREAMS runtime:start_jobs >", "XACK runtime:start_jobs rtmanager 1-1",
        "DEL runtime:start_jobs", "RENAME runtime:start_jobs other", "EXPIRE runtime:start_jobs 1",
        "EVAL return{} 0", "MULTI", "WATCH runtime:start_jobs", "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0",
        "SWAPDB 0 1", "CONFIG GET *", "CONFIG SET maxmemory 1", "INFO", "MONITOR",
        "SHUTDOWN NOSAVE", "REPLICAOF NO ONE", "CLIENT LIST", "CLIENT KILL TYPE normal", "ACL LIST", "ACL WHOAMI",
        "ACL SETUSER lobby +@all", "SAVE", "MODULE LIST", "SCRIPT FLUSH", "FUNCTION FLUSH",
    ],
    "gm": [
        "XADD runtime:health_events * game_id g", "XREAD STREAMS runtime:start_jobs 0",
        "XADD runtime:stop_jobs * game_id g", "XREAD STREAMS runtime:job_results 0",
        "LPUSH rtm:default:celery:lifecycle x", "DEL runtime:health_events", "FLUSHALL", "CONFIG GET *", "KEYS *",
        "ACL LIST", "EVAL return{} 0",
    ],
    "rtm": [
        "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "SHUTDOWN NOSAVE", "REPLICAOF NO ONE", "ACL LIST",
        "CLIENT KILL TYPE normal", "MONITOR", "SWAPDB 0 1", "SET other x", "GET other",
        "PUBLISH /1.celery.pidbox x", "MODULE LIST", "SAVE",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("user", "command"), [(user, command) for user, commands in REFUSED.items() for command in commands]
)
def test_the_documented_users_can_do_no_more(server_with_users: Valkey, user: str, command: str) -> None:
    client: Any = as_user(server_with_users, user)

    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split(" "))


def test_workers_ignore_remote_control() -> None:
    from rtmanager.celery import app  # noqa: PLC0415 - Django is set up only now

    assert app.conf.worker_enable_remote_control is False
