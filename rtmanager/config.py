"""Every setting of the service: read once from the environment, checked, typed.

Nothing else in the project reads ``os.environ``. The names, defaults and meanings are documented in
``docs/settings.md``; a test holds that page against this module.
"""

import os
from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rtmanager.databases import libpq_params
from rtmanager.durations import parse_duration

PREFIX = "RTMANAGER_"


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _file_mode(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return int(value, 8)
    except ValueError:
        message = f"{value!r} is not an octal file mode; write for example 0750"
        raise ValueError(message) from None


Duration = Annotated[timedelta, BeforeValidator(_duration)]
FileMode = Annotated[int, BeforeValidator(_file_mode), Field(ge=0, le=0o7777)]
_HIGHEST_PORT = 65535
_POSITIVE = Field(gt=0)
_StreamName = Annotated[str, Field(min_length=1)]
_MEMORY = r"^[1-9]\d*[bkmgBKMG]?$"
_TRACES_PACKAGE = "opentelemetry.exporter.otlp.proto.http"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"


class Config(BaseSettings):
    """The settings of one installation. Durations are timedeltas; other units are in the names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True)

    # Where the service listens and who may call it
    internal_http_addr: str = ":8096"
    api_auth: Literal["token", "network"] = "token"
    admin_bootstrap_user: str = ""
    admin_bootstrap_password: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    allowed_hosts: str = "*"
    rest_wait_seconds: Annotated[float, Field(ge=0)] = 60.0
    web_threads: Annotated[int, _POSITIVE] = 32

    # Servers
    database_url: str = Field(
        default="postgresql://rtmanager@127.0.0.1:5432/rtmanager",
        validation_alias=AliasChoices(f"{PREFIX}DATABASE_URL", f"{PREFIX}POSTGRES_PRIMARY_DSN"),
        repr=False,  # addresses may hold passwords
    )
    redis_url: str = Field(default="", repr=False)
    redis_master_addr: str = "127.0.0.1:6379"
    redis_password: SecretStr = SecretStr("")
    celery_broker_url: str = Field(default="", repr=False)
    docker_host: str = "unix:///var/run/docker.sock"
    lobby_url: str = ""
    lobby_timeout: Duration = timedelta(seconds=2)

    # Streams
    start_jobs_stream: _StreamName = "runtime:start_jobs"
    stop_jobs_stream: _StreamName = "runtime:stop_jobs"
    job_results_stream: _StreamName = "runtime:job_results"
    health_events_stream: _StreamName = "runtime:health_events"
    notification_intents_stream: _StreamName = "notification:intents"
    dead_letters_stream: _StreamName = "runtime:dead_letters"

    # Game containers
    stack: Annotated[str, Field(pattern=_NAME)] = "default"
    docker_network: Annotated[str, Field(min_length=1)] = "galaxy-net"
    game_state_root: Annotated[str, Field(pattern=r"^/")] = "/var/lib/rtmanager/games"
    game_state_dir_mode: FileMode = 0o750
    game_state_owner_uid: Annotated[int, Field(ge=0)] = 0
    game_state_owner_gid: Annotated[int, Field(ge=0)] = 0
    engine_state_mount_path: Annotated[str, Field(pattern=r"^/")] = "/var/lib/galaxy-game"
    engine_state_env_name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "GAME_STATE_PATH"
    image_pull_policy: Literal["if_missing", "always", "never"] = "if_missing"
    default_cpu_quota: Annotated[float, _POSITIVE] = 1.0
    default_memory: Annotated[str, Field(pattern=_MEMORY)] = "512m"
    default_pids_limit: Annotated[int, _POSITIVE] = 512
    container_read_only: bool = True
    container_user: Annotated[str, Field(pattern=r"^(\d+(:\d+)?)?$")] = ""
    container_stop_timeout_seconds: Annotated[int, Field(ge=0)] = 30
    container_retention_days: Annotated[int, _POSITIVE] = 30
    patch_settle_seconds: Annotated[float, Field(ge=0)] = 3.0
    start_settle: Duration = timedelta(milliseconds=300)

    # Health and repair
    inspect_interval: Duration = timedelta(seconds=30)
    probe_interval: Duration = timedelta(seconds=15)
    probe_timeout: Duration = timedelta(seconds=2)
    probe_failures_threshold: Annotated[int, _POSITIVE] = 3
    reconcile_interval: Duration = timedelta(minutes=5)
    cleanup_interval: Duration = timedelta(hours=1)

    # The protocol
    game_lease_ttl_seconds: Annotated[float, Field(ge=2)] = 60.0
    job_deadline: Duration = timedelta(hours=1)
    worker_concurrency: Annotated[int, _POSITIVE] = 16
    shutdown_timeout: Duration = timedelta(seconds=30)
    stuck_after: Duration = timedelta(minutes=2)

    # Logs and traces
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    traces_endpoint: str = ""

    @field_validator(
        "start_settle", "inspect_interval", "probe_interval", "probe_timeout", "reconcile_interval",
        "cleanup_interval", "job_deadline", "shutdown_timeout", "stuck_after", "lobby_timeout",
    )  # fmt: skip
    @classmethod
    def _not_negative(cls, value: timedelta) -> timedelta:
        if value < timedelta():
            message = "a duration cannot be negative"
            raise ValueError(message)
        return value

    @field_validator("internal_http_addr")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        _host, separator, port = value.rpartition(":")
        if not separator or not port.isdigit() or not 0 < int(port) <= _HIGHEST_PORT:
            message = f"{value!r} is not an address; write :8096 or 127.0.0.1:8096"
            raise ValueError(message)
        return value

    @field_validator("database_url")
    @classmethod
    def _postgresql_only(cls, value: str) -> str:
        if not value.startswith(("postgres://", "postgresql://")):
            message = "only PostgreSQL is supported; write postgresql://user:password@host:5432/name"
            raise ValueError(message)
        libpq_params(value)
        return value

    @field_validator("redis_url", "celery_broker_url")
    @classmethod
    def _redis_only(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            message = "only Redis and Valkey are supported; write redis://host:6379/0"
            raise ValueError(message)
        return value

    @field_validator("lobby_url")
    @classmethod
    def _http_only(cls, value: str) -> str:
        parts = urlsplit(value)
        odd = parts.query or parts.fragment or parts.username or parts.port == 0
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or odd):
            message = "Lobby is asked over HTTP; write http://lobby:8080, or leave it empty"
            raise ValueError(message)
        return value

    @field_validator("traces_endpoint")
    @classmethod
    def _collector_can_be_told(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
            message = "traces go over OTLP/HTTP; write http://collector:4318, or leave it empty"
            raise ValueError(message)
        if value and not _is_installed(_TRACES_PACKAGE):
            message = "traces need packages that are not installed: pip install 'rtmanager[traces]', or leave it empty"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _every_stream_has_its_own_name(self) -> Self:
        names = [getattr(self, field) for field in type(self).model_fields if field.endswith("_stream")]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            message = f"{PREFIX}*_STREAM: two streams cannot have one name, {', '.join(doubled)}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _broker_can_be_derived(self) -> Self:
        try:
            _ = self.broker_url
        except ValueError:
            message = f"{PREFIX}REDIS_URL: the database behind the host must be a number, as in redis://host:6379/0"
            raise ValueError(message) from None
        return self

    @model_validator(mode="after")
    def _bootstrap_admin_is_whole(self) -> Self:
        if self.admin_bootstrap_user and not self.admin_bootstrap_password.get_secret_value():
            message = f"{PREFIX}ADMIN_BOOTSTRAP_PASSWORD is needed when {PREFIX}ADMIN_BOOTSTRAP_USER is given"
            raise ValueError(message)
        return self

    @property
    def streams_url(self) -> str:
        """The Redis of the six contract streams: ``REDIS_URL``, else built from address and password."""
        if self.redis_url:
            return self.redis_url
        password = self.redis_password.get_secret_value()
        credentials = f":{quote(password, safe='')}@" if password else ""
        return f"redis://{credentials}{self.redis_master_addr}/0"

    @property
    def broker_url(self) -> str:
        """Celery's own logical database: ``CELERY_BROKER_URL``, else the one after that of the streams."""
        if self.celery_broker_url:
            return self.celery_broker_url
        parts = urlsplit(self.streams_url)
        query = dict(parse_qsl(parts.query))
        if parts.scheme == "unix":
            database = int(query.get("db", "0"))
            # Not urlunsplit: it drops the empty host's slashes of a scheme it does not know, and Celery needs them.
            return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database + 1}"
        database = int(parts.path.strip("/") or "0")
        return urlunsplit(parts._replace(path=f"/{database + 1}"))

    @property
    def traces_url(self) -> str:
        """Where traces are posted: ``TRACES_ENDPOINT``, with the usual path when it has none."""
        parts = urlsplit(self.traces_endpoint)
        return urlunsplit(parts._replace(path="/v1/traces")) if parts.path in {"", "/"} else self.traces_endpoint


def _is_installed(package: str) -> bool:
    """Whether it could be imported. What it needs itself is only loaded by asking, so nobody asks without reason."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


class BadSettingsError(Exception):
    """At least one environment variable has a value that cannot be used; the text names each."""


def load_config() -> Config:
    """Read the environment. Raises BadSettingsError naming every bad variable, without its value if secret."""
    try:
        return Config()
    except ValidationError as error:
        raise BadSettingsError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        name = field if field.startswith(PREFIX) else f"{PREFIX}{field.upper()}"
        reason = problem["msg"].removeprefix("Value error, ").removeprefix(f"{name}: ")
        lines.append(f"{_as_given(name)}: {reason}" if field else reason)
    return "\n".join(lines)


def _as_given(name: str) -> str:
    """The alias under which the operator gave the setting; pydantic names the first one, whichever was used."""
    for field in Config.model_fields.values():
        aliases = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else []
        if name in aliases:
            return next((str(alias) for alias in aliases if str(alias) in os.environ), name)
    return name
