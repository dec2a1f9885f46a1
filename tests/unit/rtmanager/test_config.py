import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from kombu import Connection

from rtmanager.config import PREFIX, BadSettingsError, Config, load_config
from tests.paths import ROOT

SECRET = "hush-hush"
Load = Callable[..., Config]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load the settings with these variables, named without their prefix, and no others."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)

    def with_variables(**variables: str) -> Config:
        for name, value in variables.items():
            monkeypatch.setenv(f"{PREFIX}{name}", value)
        return load_config()

    return with_variables


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("internal_http_addr", ":8096"),
        ("docker_host", "unix:///var/run/docker.sock"),
        ("docker_network", "galaxy-net"),
        ("stack", "default"),
        ("game_state_dir_mode", 0o750),
        ("game_state_owner_uid", 0),
        ("game_state_owner_gid", 0),
        ("image_pull_policy", "if_missing"),
        ("default_cpu_quota", 1.0),
        ("default_memory", "512m"),
        ("default_pids_limit", 512),
        ("max_cpu_quota", None),
        ("max_memory", ""),
        ("max_pids_limit", None),
        ("container_stop_timeout_seconds", 30),
        ("container_retention_days", 30),
        ("engine_state_mount_path", "/var/lib/galaxy-game"),
        ("engine_state_env_name", "GAME_STATE_PATH"),
        ("inspect_interval", timedelta(seconds=30)),
        ("probe_interval", timedelta(seconds=15)),
        ("probe_timeout", timedelta(seconds=2)),
        ("probe_failures_threshold", 3),
        ("reconcile_interval", timedelta(minutes=5)),
        ("cleanup_interval", timedelta(hours=1)),
        ("game_lease_ttl_seconds", 60),
        ("rest_wait_seconds", 60),
        ("shutdown_timeout", timedelta(seconds=30)),
        ("log_level", "info"),
        ("api_auth", "token"),
        ("admin_bootstrap_user", ""),
        ("session_lifetime", timedelta(hours=12)),
        ("start_jobs_stream", "runtime:start_jobs"),
        ("stop_jobs_stream", "runtime:stop_jobs"),
        ("job_results_stream", "runtime:job_results"),
        ("health_events_stream", "runtime:health_events"),
        ("notification_intents_stream", "notification:intents"),
        ("dead_letters_stream", "runtime:dead_letters"),
    ],
)
def test_without_any_variable_the_defaults_of_the_contract_hold(load: Load, *, field: str, value: object) -> None:
    assert getattr(load(), field) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("INTERNAL_HTTP_ADDR", "127.0.0.1:80", "127.0.0.1:80"),
        ("INTERNAL_HTTP_ADDR", "[::1]:65535", "[::1]:65535"),
        ("GAME_STATE_DIR_MODE", "0700", 0o700),
        ("GAME_STATE_DIR_MODE", "2770", 0o2770),
        (
            "ALLOWED_REGISTRIES",
            "registry.example, r.example:5000/team/*,",
            ("registry.example", "r.example:5000/team/*"),
        ),
        ("ALLOWED_REGISTRIES", "", ()),
        ("PROBE_TIMEOUT", "500ms", timedelta(milliseconds=500)),
        ("RECONCILE_INTERVAL", "1h30m", timedelta(minutes=90)),
        ("DEFAULT_CPU_QUOTA", "0.5", 0.5),
        ("DEFAULT_MEMORY", "2G", "2G"),
        ("DEFAULT_PIDS_LIMIT", "64", 64),
        ("IMAGE_PULL_POLICY", "never", "never"),
        ("API_AUTH", "network", "network"),
        ("CONTAINER_READ_ONLY", "false", False),
        ("CONTAINER_USER", "1000:1000", "1000:1000"),
        ("JOB_RESULTS_STREAM", "other:results", "other:results"),
    ],
)
def test_a_variable_sets_its_field(load: Load, *, name: str, text: str, value: object) -> None:
    assert getattr(load(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTERNAL_HTTP_ADDR", "8096"),
        ("INTERNAL_HTTP_ADDR", ":0"),
        ("INTERNAL_HTTP_ADDR", ":65536"),
        ("INTERNAL_HTTP_ADDR", ":http"),
        ("INTERNAL_HTTP_ADDR", ":²"),
        ("API_AUTH", "none"),
        ("DATABASE_URL", f"mysql://rtm:{SECRET}@db.example/games"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", f"http://:{SECRET}@redis.example"),
        ("CELERY_BROKER_URL", f"amqp://rtm:{SECRET}@broker.example"),
        ("STACK", ""),
        ("STACK", "two words"),
        ("STACK", "a" * 64),
        ("DOCKER_NETWORK", ""),
        ("GAME_STATE_ROOT", "games"),
        ("GAME_STATE_DIR_MODE", "rwx"),
        ("GAME_STATE_DIR_MODE", "0790"),
        ("GAME_STATE_DIR_MODE", "17777"),
        ("GAME_STATE_OWNER_UID", "-1"),
        ("GAME_STATE_OWNER_GID", "users"),
        ("ENGINE_STATE_MOUNT_PATH", "state"),
        ("ENGINE_STATE_ENV_NAME", "1STATE"),
        ("ENGINE_STATE_ENV_NAME", "GAME=STATE"),
        ("IMAGE_PULL_POLICY", "sometimes"),
        ("DEFAULT_CPU_QUOTA", "0"),
        ("DEFAULT_CPU_QUOTA", "half"),
        ("DEFAULT_MEMORY", "512 m"),
        ("DEFAULT_MEMORY", "0"),
        ("DEFAULT_MEMORY", "1t"),
        ("DEFAULT_PIDS_LIMIT", "0"),
        ("DEFAULT_PIDS_LIMIT", "1.5"),
        ("DEFAULT_PIDS_LIMIT", "1"),
        ("DEFAULT_PIDS_LIMIT", "4194305"),
        ("DEFAULT_CPU_QUOTA", "0.001"),
        ("DEFAULT_MEMORY", "5m"),
        ("MAX_CPU_QUOTA", "0"),
        ("MAX_MEMORY", "5m"),
        ("MAX_MEMORY", "much"),
        ("MAX_PIDS_LIMIT", "1"),
        ("CONTAINER_READ_ONLY", "perhaps"),
        ("CONTAINER_USER", "nobody"),
        ("CONTAINER_STOP_TIMEOUT_SECONDS", "-1"),
        ("CONTAINER_RETENTION_DAYS", "0"),
        ("INSPECT_INTERVAL", "30"),
        ("PROBE_INTERVAL", "-15s"),
        ("PROBE_TIMEOUT", "soon"),
        ("PROBE_FAILURES_THRESHOLD", "0"),
        ("RECONCILE_INTERVAL", "5 m"),
        ("CLEANUP_INTERVAL", ""),
        ("GAME_LEASE_TTL_SECONDS", "1"),
        ("SHUTDOWN_TIMEOUT", "30sec"),
        ("LOG_LEVEL", "INFORMATIVE"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(load: Load, *, name: str, value: str) -> None:
    with pytest.raises(BadSettingsError) as refused:
        load(**{name: value})

    assert str(refused.value).startswith(f"{PREFIX}{name}: ")
    assert SECRET not in str(refused.value)
    # Neither does the error that a traceback would show before ours.
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("default", "most"),
    [
        ({"DEFAULT_CPU_QUOTA": "2.5"}, {"MAX_CPU_QUOTA": "1.5"}),
        ({"DEFAULT_MEMORY": "1g"}, {"MAX_MEMORY": "1023m"}),
        ({"DEFAULT_PIDS_LIMIT": "512"}, {"MAX_PIDS_LIMIT": "511"}),
    ],
)
def test_a_default_above_its_maximum_is_refused_with_both_variables(
    load: Load, default: dict[str, str], most: dict[str, str]
) -> None:
    with pytest.raises(BadSettingsError) as refused:
        load(**default, **most)

    assert all(f"RTMANAGER_{name} ({value})" in str(refused.value) for name, value in {**default, **most}.items())


def test_maxima_equal_to_the_defaults_are_taken(load: Load) -> None:
    config = load(MAX_CPU_QUOTA="1.0", MAX_MEMORY="512m", MAX_PIDS_LIMIT="512")

    assert (config.max_cpu_quota, config.max_memory, config.max_pids_limit) == (1.0, "512m", 512)


def test_all_bad_values_are_named_at_once(load: Load) -> None:
    with pytest.raises(BadSettingsError) as refused:
        load(LOG_LEVEL="loud", PROBE_TIMEOUT="soon", STACK="two words")

    named = {line.partition(":")[0] for line in str(refused.value).splitlines()}
    assert named == {"RTMANAGER_LOG_LEVEL", "RTMANAGER_PROBE_TIMEOUT", "RTMANAGER_STACK"}


def test_an_admin_without_a_password_is_refused_by_both_names(load: Load) -> None:
    with pytest.raises(
        BadSettingsError, match="ADMIN_BOOTSTRAP_PASSWORD is required with RTMANAGER_ADMIN_BOOTSTRAP_USER"
    ):
        load(ADMIN_BOOTSTRAP_USER="root")


@pytest.mark.parametrize("name", ["ADMIN_BOOTSTRAP_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY"])
def test_a_secret_does_not_show_when_the_settings_are_printed(load: Load, name: str) -> None:
    config = load(**{name: SECRET})

    assert SECRET not in f"{config!r} {config}"
    assert getattr(config, name.lower()).get_secret_value() == SECRET


def test_settings_cannot_be_changed_while_the_service_runs(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().stack = "other"  # type: ignore[misc]


# Names that installations of the former service use


def test_the_former_name_of_the_database_is_understood(load: Load) -> None:
    url = "postgres://rtm@db.example/games"

    assert load(POSTGRES_PRIMARY_DSN=url).database_url == url


def test_the_present_name_of_the_database_wins(load: Load) -> None:
    config = load(POSTGRES_PRIMARY_DSN="postgres://old.example/a", DATABASE_URL="postgresql://new.example/b")

    assert config.database_url == "postgresql://new.example/b"


def test_address_and_password_of_redis_make_its_address(load: Load) -> None:
    config = load(REDIS_MASTER_ADDR="redis.example:6380", REDIS_PASSWORD="p@ss/w:ord")

    assert config.streams_url == "redis://:p%40ss%2Fw%3Aord@redis.example:6380/0"


def test_an_address_of_redis_without_password_has_no_credentials(load: Load) -> None:
    assert load(REDIS_MASTER_ADDR="redis.example:6380").streams_url == "redis://redis.example:6380/0"


def test_a_whole_address_of_redis_wins(load: Load) -> None:
    config = load(REDIS_URL="redis://new.example/3", REDIS_MASTER_ADDR="old.example:1", REDIS_PASSWORD=SECRET)

    assert config.streams_url == "redis://new.example/3"


# The broker


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://redis.example:6379/0", "redis://redis.example:6379/1"),
        ("rediss://r.example", "rediss://r.example/1?ssl_cert_reqs=required&ssl_check_hostname=true"),
        ("redis://redis.example:6379/4", "redis://redis.example:6379/5"),
        ("redis://redis.example", "redis://redis.example/1"),
        ("redis://redis.example/", "redis://redis.example/1"),
        ("redis://:p%40ss@redis.example/0", "redis://:p%40ss@redis.example/1"),
        ("redis://user:p%2Fw@[::1]:6379/0", "redis://user:p%2Fw@[::1]:6379/1"),
        ("rediss://redis.example/2?ssl_cert_reqs=none", "rediss://redis.example/3?ssl_cert_reqs=none"),
    ],
)
def test_the_broker_has_the_logical_database_after_the_streams(load: Load, *, redis_url: str, broker_url: str) -> None:
    assert load(REDIS_URL=redis_url).broker_url == broker_url


@pytest.mark.parametrize(("query", "database"), [("", "1"), ("?db=0", "1"), ("?db=2", "3")])
def test_celery_finds_the_same_socket_with_the_next_database(load: Load, *, query: str, database: str) -> None:
    broker_url = load(REDIS_URL=f"unix:///run/redis/redis.sock{query}").broker_url

    assert broker_url == f"redis+socket:///run/redis/redis.sock?virtual_host={database}"
    assert Connection(broker_url).transport_cls == "redis"


def test_a_broker_of_its_own_is_taken_as_it_is(load: Load) -> None:
    assert load(CELERY_BROKER_URL="redis://broker.example/7").broker_url == "redis://broker.example/7"


# The process


def check(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(command or ("manage.py", "check"))],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **{f"{PREFIX}{name}": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_bad_setting_stops_the_process_at_once_and_is_named() -> None:
    ended = check(PROBE_TIMEOUT="soon", REDIS_PASSWORD=SECRET)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        "rtmanager: the service cannot start with these settings:\n"
        "RTMANAGER_PROBE_TIMEOUT: 'soon' is not a duration; write for example 500ms, 30s, 5m, 1h or 90d\n"
    )


def test_manage_py_works_from_any_directory(tmp_path: Path) -> None:
    manage = ROOT / "manage.py"

    ended = subprocess.run(
        [sys.executable, manage, "version"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )

    assert ended.returncode == 0


def test_a_bad_value_under_a_former_name_is_refused_by_that_name(load: Load) -> None:
    with pytest.raises(BadSettingsError, match="RTMANAGER_POSTGRES_PRIMARY_DSN"):
        load(POSTGRES_PRIMARY_DSN="mysql://db.example/games")


@pytest.mark.parametrize("name", ["START_JOBS_STREAM", "JOB_RESULTS_STREAM"])
def test_a_stream_needs_a_name(load: Load, name: str) -> None:
    with pytest.raises(BadSettingsError, match=name):
        load(**{name: ""})


def test_two_streams_cannot_have_one_name(load: Load) -> None:
    with pytest.raises(BadSettingsError, match="STREAM"):
        load(START_JOBS_STREAM="jobs", STOP_JOBS_STREAM="jobs")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", f"redis://:{SECRET}@redis.example/games"),
        ("REDIS_URL", "unix:///run/redis.sock?db=two"),
        ("DATABASE_URL", f"postgresql://rtm:{SECRET}%zz@db.example/games"),
        ("DATABASE_URL", f"postgresql://rtm:{SECRET}@[::1/games"),
        ("PROBE_TIMEOUT", "9999999999d"),
    ],
)
def test_an_unusable_value_stops_the_process_without_a_traceback(name: str, value: str) -> None:
    ended = check("-c", "import rtmanager.settings", **{name: value})

    assert ended.returncode == 1
    assert f"{PREFIX}{name}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert SECRET not in ended.stderr


def test_traces_go_to_the_usual_path_unless_one_is_given() -> None:
    given = [Config(traces_endpoint=f"http://collector:4318{path}").traces_url for path in ("", "/", "/otlp")]

    assert given == ["http://collector:4318/v1/traces", "http://collector:4318/v1/traces", "http://collector:4318/otlp"]


def test_traces_without_their_packages_are_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMANAGER_TRACES_ENDPOINT", "http://collector:4318")
    # Other tests of the session may have loaded parts of it by now.
    for loaded in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(BadSettingsError, match=r"RTMANAGER_TRACES_ENDPOINT: .*rtmanager\[traces\]"):
        load_config()


def test_traces_to_what_is_no_address_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMANAGER_TRACES_ENDPOINT", "collector:4318")

    with pytest.raises(BadSettingsError, match=r"RTMANAGER_TRACES_ENDPOINT: .*http://collector:4318"):
        load_config()
