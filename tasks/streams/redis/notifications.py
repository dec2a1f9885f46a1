"""Wake-ups for REST calls that wait for the completion of an operation."""

import threading

import redis
import structlog
from django.conf import settings

from tasks.streams.redis.client import check_writable, connect, drop_if_read_only

log = structlog.get_logger(__name__)

_TTL_SECONDS = 60


class RedisCompletionNotifier:
    """One stream with one entry per operation: reading it consumes nothing, so waiters may come late or return."""

    _local = threading.local()

    def ping(self) -> None:
        check_writable(self._client(), settings.RTMANAGER.stack)

    def notify(self, operation_id: int) -> None:
        key = self._key(operation_id)
        pipeline = self._client().pipeline(transaction=False)
        pipeline.xadd(key, {"finished": "1"}, maxlen=1, approximate=False)
        pipeline.expire(key, _TTL_SECONDS)
        try:
            pipeline.execute()
        except redis.RedisError as error:
            drop_if_read_only(error, self._client())
            log.warning("completion_notification_failed", operation_id=operation_id, error=str(error))

    def wait(self, operation_id: int, *, timeout_seconds: float) -> None:
        try:
            self._client().xread({self._key(operation_id): "0"}, count=1, block=max(1, int(timeout_seconds * 1000)))
        except redis.RedisError:
            # Redis cannot wake the caller. Wait here instead, so that the caller does not poll the row in a busy loop.
            threading.Event().wait(min(timeout_seconds, 0.25))

    @staticmethod
    def _key(operation_id: int) -> str:
        return f"rtm:{settings.RTMANAGER.stack}:reply:{operation_id}"

    @classmethod
    def _client(cls) -> redis.Redis:
        url = settings.RTMANAGER.streams_url
        if getattr(cls._local, "url", None) != url:
            cls._local.client = connect(url)
            cls._local.url = url
        client: redis.Redis = cls._local.client
        return client
