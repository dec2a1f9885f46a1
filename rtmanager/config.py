"""Every setting of the service: read once from the environment, checked, typed.

Nothing else in the project reads ``os.environ``. The names, defaults and meanings are documented in
``docs/settings.md``; a test holds that page against this module.
"""

import os
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rtmanager.database_urls import libpq_params
from rtmanager.http.proxies import parse_networks
from rtmanager.redis_urls import check_address, parse_redis_url
from runtimes.container_spec import MAX_PIDS, MIN_CPU_QUOTA, MIN_MEMORY_BYTES, MIN_PIDS_LIMIT, parse_memory
from runtimes.formatting import parse_duration
from runtimes.image_refs import check_allowed_entry

PREFIX = "RTMANAGER_"
# What Django's deployment check (security.W009) wants.
SECRET_KEY_LENGTH = 50


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta():
        message = "a duration cannot be negative"
        raise ValueError(message)
    return value


def _file_mode(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return int(value, 8)
    except ValueError:
        message = f"{value!r} is not an octal file mode; write for example 0750"
        raise ValueError(message) from None


def _entries(value: object) -> object:
    if not isinstance(value, str):
        return value
    entries = tuple(entry.strip() for entry in value.split(",") if entry.strip())
    for entry in entries:
        check_allowed_entry(entry)
    return entries


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


Duration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_not_negative)]
FileMode = Annotated[int, BeforeValidator(_file_mode), Field(ge=0, le=0o7777)]
_HIGHEST_PORT = 65535
_POSITIVE = Field(gt=0)
_LONGER_THAN_ZERO = Field(gt=timedelta())
_CpuQuota = Annotated[float, Field(ge=MIN_CPU_QUOTA)]
_PidsLimit = Annotated[int, Field(ge=MIN_PIDS_LIMIT, le=MAX_PIDS)]
_AllowedRegistries = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_entries)]
_StreamName = Annotated[str, Field(min_length=1)]
_MEMORY = r"^[1-9]\d*[bkmgBKMG]?$"
_TRACES_PACKAGE = "opentelemetry.exporter.otlp.proto.http"
# Old name → new name. A value under an old name stops the process; it must not be ignored silently.
_RENAMED = {
    "RTMANAGER_LOBBY_URL": "RTMANAGER_LOBBY_INTERNAL_BASE_URL",
    "RTMANAGER_LOBBY_TIMEOUT": "RTMANAGER_LOBBY_INTERNAL_TIMEOUT",
}
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"


class Config(BaseSettings):
    """The settings of one installation. Durations are timedeltas; names contain all other units."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", populate_by_name=True)

    # Where the service listens and who may call it
    internal_http_addr: str = ":8096"
    api_auth: Literal["token", "network"] = "token"
    prepare_database: bool = False
    admin_bootstrap_user: str = ""
    admin_bootstrap_password: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    session_lifetime: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=12)
    allowed_hosts: str = "*"
    public_url: str = ""
    trusted_proxies: str = ""
    rest_wait_seconds: Annotated[float, Field(ge=0)] = 60.0
    web_threads: Annotated[int, _POSITIVE] = 32

    # Servers
    database_url: str = Field(
        default="postgresql://rtmanager@127.0.0.1:5432/rtmanager",
        validation_alias=AliasChoices(f"{PREFIX}DATABASE_URL", f"{PREFIX}POSTGRES_PRIMARY_DSN"),
        repr=False,  # may contain a password
    )
    redis_url: str = Field(default="", repr=False)
    redis_master_addr: str = "127.0.0.1:6379"
    redis_password: SecretStr = SecretStr("")
    celery_broker_url: str = Field(default="", repr=False)
    docker_host: str = "unix:///var/run/docker.sock"
    docker_gateway_dir: Annotated[str, Field(pattern=r"^/")] = "/run/rtmanager/docker"
    docker_gateway_watch_group: str = ""
    docker_gateway_operate_group: str = ""
    lobby_internal_base_url: str = ""
    lobby_internal_timeout: Annotated[Duration, _LONGER_THAN_ZERO] = timedelta(seconds=2)

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
    allowed_registries: _AllowedRegistries = ()
    image_volumes: Literal["state", "refuse"] = "state"
    default_cpu_quota: _CpuQuota = 1.0
    default_memory: Annotated[str, Field(pattern=_MEMORY)] = "512m"
    default_pids_limit: _PidsLimit = 512
    max_cpu_quota: Annotated[_CpuQuota | None, BeforeValidator(_none_if_empty)] = None
    max_memory: Annotated[str, Field(pattern=rf"^$|{_MEMORY}")] = ""
    max_pids_limit: Annotated[_PidsLimit | None, BeforeValidator(_none_if_empty)] = None
    container_read_only: bool = True
    container_user: Annotated[str, Field(pattern=r"^(\d+(:\d+)?)?$")] = ""
    container_log_driver: Literal["auto", "local", "json-file", "k8s-file"] = "auto"
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
    replacement_grace: Duration = timedelta(seconds=3)
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

    @model_validator(mode="before")
    @classmethod
    def _without_surrounding_space(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Strip all values: a secret from a file often ends with a newline."""
        return {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}

    @field_validator("internal_http_addr")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        _host, separator, port = value.rpartition(":")
        if not separator or not port.isdigit() or not 0 < int(port) <= _HIGHEST_PORT:
            message = f"{value!r} is not an address; write :8096 or 127.0.0.1:8096"
            raise ValueError(message)
        return value

    @field_validator("public_url")
    @classmethod
    def _origin(cls, value: str) -> str:
        parts = urlsplit(value)
        has_more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or has_more):
            message = f"{value!r} is not the address of a site; write https://rtm.example.com, without a path"
            raise ValueError(message)
        return value.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            parse_networks(value)
        except ValueError as error:
            message = f"{error}; write addresses or networks, for example 10.0.0.5, 172.18.0.0/16"
            raise ValueError(message) from None
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
        if value:
            parse_redis_url(value)
        return value

    @field_validator("redis_master_addr")
    @classmethod
    def _redis_address(cls, value: str) -> str:
        check_address(value)
        return value

    @field_validator("lobby_internal_base_url")
    @classmethod
    def _http_only(cls, value: str) -> str:
        parts = urlsplit(value)
        has_unsupported_parts = parts.query or parts.fragment or parts.username or parts.port == 0
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or has_unsupported_parts):
            message = "the Lobby call goes over HTTP; write http://lobby:8080, or leave it empty"
            raise ValueError(message)
        return value

    @field_validator("traces_endpoint")
    @classmethod
    def _traces_can_be_exported(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
            message = "traces go over OTLP/HTTP; write http://collector:4318, or leave it empty"
            raise ValueError(message)
        if value and not _is_installed(_TRACES_PACKAGE):
            message = "traces need packages that are not installed: pip install 'rtmanager[traces]', or leave it empty"
            raise ValueError(message)
        return value

    @field_validator("default_memory", "max_memory")
    @classmethod
    def _enough_memory(cls, value: str) -> str:
        if value and parse_memory(value) < MIN_MEMORY_BYTES:
            message = f"{value!r} is too little: no container starts with less than {MIN_MEMORY_BYTES >> 20}m"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _no_conflicts(self) -> Self:
        for conflict in self._conflicts():
            raise ValueError(conflict)
        return self

    def _conflicts(self) -> Iterator[str]:
        names = [getattr(self, field) for field in type(self).model_fields if field.endswith("_stream")]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            yield f"{PREFIX}*_STREAM: two streams cannot have the same name, {', '.join(doubled)}"
        for name in ("cpu_quota", "memory", "pids_limit"):
            default, most = getattr(self, f"default_{name}"), getattr(self, f"max_{name}")
            if most and _amount(default) > _amount(most):
                variables = f"{PREFIX}DEFAULT_{name.upper()} ({default})", f"{PREFIX}MAX_{name.upper()} ({most})"
                yield "{} is above {}: lower the default or raise the maximum".format(*variables)
        if self.public_url and len(self.secret_key.get_secret_value()) < SECRET_KEY_LENGTH:
            yield (
                f"{PREFIX}SECRET_KEY needs at least {SECRET_KEY_LENGTH} characters with {PREFIX}PUBLIC_URL; create it: "
                'python -c "import secrets; print(secrets.token_urlsafe(48))"'
            )
        if self.admin_bootstrap_user and not self.admin_bootstrap_password.get_secret_value():
            yield f"{PREFIX}ADMIN_BOOTSTRAP_PASSWORD is required with {PREFIX}ADMIN_BOOTSTRAP_USER"

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
        """The Redis database of Celery: ``CELERY_BROKER_URL``, else the one after the database of the streams."""
        if self.celery_broker_url:
            broker = parse_redis_url(self.celery_broker_url)
            return broker.for_celery(database=broker.database)
        streams = parse_redis_url(self.streams_url)
        return streams.for_celery(database=streams.database + 1)

    @property
    def traces_url(self) -> str:
        """The URL for traces: ``TRACES_ENDPOINT``, with the standard path if it has none."""
        parts = urlsplit(self.traces_endpoint)
        return urlunsplit(parts._replace(path="/v1/traces")) if parts.path in {"", "/"} else self.traces_endpoint


def _amount(value: float | str) -> float:
    return parse_memory(value) if isinstance(value, str) else value


def _is_installed(package: str) -> bool:
    """Return whether the package can be imported. The check loads its parent packages, so run it only if needed."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


class BadSettingsError(Exception):
    """At least one environment variable has an invalid value; the text names each."""


def load_config() -> Config:
    """Read the environment. Raises BadSettingsError, which names each invalid variable but no secret value."""
    refusals = _renamed_variables()
    try:
        config = Config()
    except ValidationError as error:
        raise BadSettingsError("\n".join([*refusals, _explain(error)])) from None
    if refusals:
        raise BadSettingsError("\n".join(refusals))
    return config


def _renamed_variables() -> list[str]:
    given = {name.upper() for name, value in os.environ.items() if value}
    return [f"{old}: this setting is now {new}; rename the variable" for old, new in _RENAMED.items() if old in given]


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        name = field if field.startswith(PREFIX) else f"{PREFIX}{field.upper()}"
        reason = problem["msg"].removeprefix("Value error, ").removeprefix(f"{name}: ")
        lines.append(f"{_as_given(name)}: {reason}" if field else reason)
    return "\n".join(lines)


def _as_given(name: str) -> str:
    """Return the alias that the operator used; pydantic always names the first one."""
    for field in Config.model_fields.values():
        aliases = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else []
        if name in aliases:
            return next((str(alias) for alias in aliases if str(alias) in os.environ), name)
    return name
