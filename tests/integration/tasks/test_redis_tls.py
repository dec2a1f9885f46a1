"""Redis with TLS: streams and broker accept the right certificate, and refuse each wrong one within their timeouts."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from celery import Celery
from celery.app import app_or_default

from operations.completion_notifier import completion_notifier
from rtmanager.redis_urls import parse_redis_url
from runtimes.exceptions import ServiceUnavailableError
from tasks.broker import ping_broker, waiting_messages
from tasks.streams.base import Publication, StreamsUnavailableError
from tasks.streams.redis.client import describe_server
from tasks.streams.redis.events import RedisEventStreams
from tasks.streams.redis.jobs import RedisJobStreams
from tests.conftest import RtmSettings
from tests.servers.certificates import Certificate, issue, make_authority
from tests.servers.databases import launch_tls_redis, ready_tls_redis
from tests.servers.server_images import ServerImages
from tests.servers.wire import Wire

JOBS = ["runtime:start_jobs", "runtime:stop_jobs"]
RESULT = Publication("runtime:job_results", "job-1", {"game_id": "g"})


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A Redis on 127.0.0.1. Its certificate names this address, and nothing else."""

    port: int
    authority: Certificate
    other_authority: Certificate

    def url(self, query: str, *, host: str = "127.0.0.1", scheme: str = "rediss") -> str:
        return f"{scheme}://{host}:{self.port}/0{query}"

    @property
    def right_url(self) -> str:
        return self.url(f"?ssl_ca_certs={self.authority.certificate}")


@pytest.fixture(scope="module")
def tls_server(server_images: ServerImages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = make_authority(folder, "authority")
    launched = launch_tls_redis(server_images.redis, issue(authority, folder, alternative_name="IP:127.0.0.1"))
    _container, address = ready_tls_redis(launched)
    # The address of a container is known too late for its certificate.
    wire = Wire((address.host, address.port))
    yield TlsServer(wire.port, authority, make_authority(folder, "other"))
    wire.cut()
    launched[0].stop()


@pytest.fixture
def broker() -> Iterator[Celery]:
    """The current Celery application, for one test."""
    before = app_or_default()
    with Celery("tls", set_as_current=True) as app:
        yield app
    before.set_current()


def use_broker(app: Celery, url: str) -> None:
    app.conf.update(broker_url=parse_redis_url(url).for_celery(database=1))


WRONG = {
    "another host name": lambda server: server.url(f"?ssl_ca_certs={server.authority.certificate}", host="localhost"),
    "an unknown authority": lambda server: server.url(f"?ssl_ca_certs={server.other_authority.certificate}"),
    "an authority that this machine does not know": lambda server: server.url(""),
}


def test_streams_and_readiness_work_with_the_right_authority(tls_server: TlsServer, rtm_settings: RtmSettings) -> None:
    rtm_settings(redis_url=tls_server.right_url)
    jobs = RedisJobStreams(tls_server.right_url, names=JOBS)
    jobs.ensure_group()

    assert jobs.read_new(count=1, block_ms=0).entries == []
    assert len(RedisEventStreams(tls_server.right_url).publish_once([RESULT])) == 1
    completion_notifier().ping()
    assert describe_server(tls_server.right_url, names=JOBS, stack="default").refusal_of_writes == ""


def test_the_broker_works_with_the_right_authority(tls_server: TlsServer, broker: Celery) -> None:
    use_broker(broker, tls_server.right_url)
    broker.send_task("rtmanager.start_runtime", args=[1], queue="lifecycle", ignore_result=True)

    assert ping_broker()
    assert waiting_messages(broker, ["lifecycle"]) == {"lifecycle": 1}


@pytest.mark.parametrize("wrong", WRONG)
def test_streams_refuse_a_wrong_certificate(tls_server: TlsServer, wrong: str) -> None:
    with pytest.raises(StreamsUnavailableError, match="certificate verify failed"):
        RedisEventStreams(WRONG[wrong](tls_server)).publish_once([RESULT])


@pytest.mark.parametrize("wrong", WRONG)
def test_the_broker_refuses_a_wrong_certificate(tls_server: TlsServer, broker: Celery, wrong: str) -> None:
    use_broker(broker, WRONG[wrong](tls_server))

    with pytest.raises(ServiceUnavailableError, match="certificate verify failed"):
        ping_broker()
    assert waiting_messages(broker, ["lifecycle"]) == {}


@pytest.mark.parametrize("options", ["?ssl_cert_reqs=none", "CA&ssl_check_hostname=false"])
def test_verification_can_be_turned_off_for_both(tls_server: TlsServer, broker: Celery, options: str) -> None:
    query = options.replace("CA", f"?ssl_ca_certs={tls_server.authority.certificate}")
    url = tls_server.url(query, host="localhost")
    use_broker(broker, url)

    assert len(RedisEventStreams(url).publish_once([RESULT])) == 1
    assert ping_broker()


def test_a_client_without_tls_is_refused_and_does_not_hang(tls_server: TlsServer, broker: Celery) -> None:
    url = tls_server.url("", scheme="redis")
    use_broker(broker, url)

    with pytest.raises(StreamsUnavailableError):
        RedisEventStreams(url).publish_once([RESULT])
    with pytest.raises(ServiceUnavailableError):
        ping_broker()
