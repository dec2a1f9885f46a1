"""Django settings, derived from Config. A bad environment variable stops the process here, by name."""

import secrets
import sys
from datetime import timedelta

from rtmanager import __version__
from rtmanager.config import BadSettingsError, load_config
from rtmanager.console.unfold_settings import UNFOLD as UNFOLD  # noqa: PLC0414 - read by django-unfold
from rtmanager.database_urls import django_database
from rtmanager.logging_config import configure_logging

try:
    RTMANAGER = load_config()
except BadSettingsError as bad:
    sys.exit(f"rtmanager: the service cannot start with these settings:\n{bad}")

SECRET_KEY = RTMANAGER.secret_key.get_secret_value() or secrets.token_urlsafe(48)
DEBUG = False
ALLOWED_HOSTS = [host.strip() for host in RTMANAGER.allowed_hosts.split(",") if host.strip()]

INSTALLED_APPS = [
    # Django finds templates in this order: the console's, the theme's, its own.
    "rtmanager.console",
    "unfold",
    # Simple: only the web process discovers the admin classes (rtmanager/urls.py).
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "runtimes",
    "operations",
    "tasks",
    "rtmanager",
]

MIDDLEWARE = [
    "rtmanager.http.proxies.TrustedProxyMiddleware",
    "rtmanager.http.middleware.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "rtmanager.http.middleware.HostCheckMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "rtmanager.urls"
WSGI_APPLICATION = "rtmanager.wsgi.application"

DATABASES = {"default": django_database(RTMANAGER.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Limits failed sign-ins; docs/decisions/ says why each value is set.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_HANDLER = "rtmanager.http.sign_in.SignInHandler"
AXES_USERNAME_CALLABLE = "rtmanager.http.sign_in.counted_username"
AXES_CLIENT_IP_CALLABLE = "rtmanager.http.sign_in.counted_address"
AXES_LOCKOUT_CALLABLE = "rtmanager.console.sign_in.render_locked"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]
# The log has every sign-in.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = ["rtmanager.console.formats"]

STATIC_URL = "static/"
# Assets are served from the packages that ship them, so collectstatic is not needed.
WHITENOISE_USE_FINDERS = True

LOGIN_REDIRECT_URL = "admin:index"
_IS_HTTPS = RTMANAGER.public_url.startswith("https://")
CSRF_TRUSTED_ORIGINS = [RTMANAGER.public_url] if RTMANAGER.public_url else []
CSRF_FAILURE_VIEW = "rtmanager.http.error_handlers.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _IS_HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _IS_HTTPS else 0
# Only a proxy that is trusted can say that the client used HTTPS (rtmanager/http/proxies.py removes other headers).
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = _IS_HTTPS and bool(RTMANAGER.trusted_proxies)
SECURE_SSL_HOST = RTMANAGER.public_url.partition("://")[2] or None
# Services inside the network call the API and the health endpoints without TLS; only the console has cookies.
SECURE_REDIRECT_EXEMPT = [r"^(?!admin(/|$))"]
# Whether subdomains use HTTPS too is not for RTM to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # The theme evaluates the expressions of its templates (Alpine.js). No page has an inline script.
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = int(RTMANAGER.session_lifetime.total_seconds())
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"

RTM_VERSION = __version__

# The adapter of each port. Tests use the fakes that ship with the product.
RTM_CONTAINERS = "runtimes.containers.docker.adapter.DockerAdapter"
RTM_NOTIFIER = "operations.dispatch.CeleryNotifier"
RTM_COMPLETION_NOTIFIER = "tasks.streams.redis.notifications.RedisCompletionNotifier"

LOGGING_CONFIG = None
configure_logging(level=RTMANAGER.log_level, log_format=RTMANAGER.log_format)

# Celery: docs/decisions/ says why each value is set, and what the defaults lose or duplicate.
_BROKER_SOCKET = {
    "socket_timeout": 10,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "global_keyprefix": f"rtm:{RTMANAGER.stack}:celery:",
    # One attempt to connect per message. By default, a sender repeats it for 6 s while it holds a request of the API.
    "max_retries": 0,
}
CELERY_IMPORTS = [
    "tasks.lifecycle", "tasks.periodic", "tasks.docker_reads", "tasks.worker.shutdown", "tasks.worker.watchdog",
    "tasks.worker.heartbeat", "tasks.worker.lock_holder", "tasks.worker.task_counters", "tasks.worker.schema_check",
    # Without the setting, OpenTelemetry is not loaded.
    *(["tasks.worker.tracing"] if RTMANAGER.traces_endpoint else []),
]  # fmt: skip
CELERY_BROKER_URL = RTMANAGER.broker_url
CELERY_BROKER_TRANSPORT_OPTIONS = _BROKER_SOCKET
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A broker that becomes a replica, is full or refuses a right answers with an error. By default a worker ends then.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_WORKER_CONSUMER = "tasks.worker.consumer:FailoverConsumer"
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "periodic"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# By default a worker opens a new database connection for each task. Ours keeps it; see rtmanager/celery.py.
CELERY_DB_REUSE_MAX = sys.maxsize
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
# Every user of the broker could stop workers. Workers report by heartbeats in PostgreSQL.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False


def _periodic(task: str, every: timedelta, *, queue: str = "periodic") -> dict[str, object]:
    # A message expires before the next one is due, so they do not pile up while no worker runs.
    seconds = every.total_seconds()
    return {"task": task, "every_seconds": seconds, "expires_seconds": seconds * 0.9, "queue": queue}


# Sent by the scheduler (tasks/loops/scheduler.py).
RTM_SCHEDULE = {
    "reconcile": _periodic("rtmanager.reconcile", RTMANAGER.reconcile_interval),
    "inspect-runtimes": _periodic("rtmanager.inspect_runtimes", RTMANAGER.inspect_interval),
    "clean-up-expired": _periodic("rtmanager.clean_up_expired", RTMANAGER.cleanup_interval),
    "trim-outbox": _periodic("rtmanager.trim_outbox", timedelta(hours=1)),
    "trim-exit-reports": _periodic("rtmanager.trim_exit_reports", timedelta(hours=1)),
    "trim-results": _periodic("rtmanager.trim_results", timedelta(hours=1)),
    "trim-sign-ins": _periodic("rtmanager.trim_sign_ins", timedelta(hours=1)),
    "roll-up-counters": _periodic("rtmanager.roll_up_counters", timedelta(seconds=15)),
    # On the queue of the operations, to test that it works.
    "canary": _periodic("rtmanager.canary", timedelta(seconds=15), queue="lifecycle"),
}
# Create the tables at the first result: a worker must start while the database is unavailable.
CELERY_DATABASE_CREATE_TABLES_AT_SETUP = False
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = 7 * 24 * 3600

# The base class of the API's views sets the rest (runtimes/api/base/views.py). A view without it denies all access.
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "runtimes.api.base.exceptions.handle_exception",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Runtime Manager",
    "DESCRIPTION": "Runs one game engine per game, each in its own Docker container, and records every operation.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": r"/api/v1/internal",
    "SERVE_INCLUDE_SCHEMA": False,
    # The schema is public, the data is not. A browser sends no token.
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "RuntimeStatus": "runtimes.states.RuntimeStatus",
        "OperationState": "operations.states.OperationState",
        "OperationOutcome": "operations.states.Outcome",
        "OperationKind": "operations.states.OperationKind",
        "OperationSource": "operations.states.OperationSource",
        "StopReason": "operations.states.StopReason",
        "ExitReportCause": "operations.states.ExitCause",
        "ErrorCode": "runtimes.api.base.openapi.ERROR_CODES",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}
