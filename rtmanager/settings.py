"""Django settings, derived from Config. A bad environment variable stops the process here, by name."""

import secrets
import sys
from datetime import timedelta

from rtmanager import __version__
from rtmanager.config import BadSettingsError, load_config
from rtmanager.console.theme import UNFOLD as UNFOLD  # noqa: PLC0414 - read by django-unfold
from rtmanager.databases import django_database, result_backend_url
from rtmanager.logs import configure_logging

try:
    RTMANAGER = load_config()
except BadSettingsError as bad:
    sys.exit(f"rtmanager: the service cannot start with these settings:\n{bad}")

SECRET_KEY = RTMANAGER.secret_key.get_secret_value() or secrets.token_urlsafe(48)
DEBUG = False
ALLOWED_HOSTS = [host.strip() for host in RTMANAGER.allowed_hosts.split(",") if host.strip()]

INSTALLED_APPS = [
    # Templates are found in this order: the console's, then the theme's, then Django's.
    "rtmanager.console",
    "unfold",
    # Whoever serves the console finds its pages (rtmanager/urls.py); the other processes do without them.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "runtimes",
    "operations",
    "tasks",
    "rtmanager",
]

MIDDLEWARE = [
    "rtmanager.api.middleware.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
# Assets come straight from the packages that ship them: nothing to collect, nothing to forget.
WHITENOISE_USE_FINDERS = True

LOGIN_REDIRECT_URL = "admin:index"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"

RTM_VERSION = __version__

# The adapters behind each port; tests name the fakes that ship with the product.
RTM_CONTAINERS = "runtimes.containers.docker.DockerContainers"
RTM_HINTS = "operations.dispatch.CeleryHints"
RTM_REPLIES = "tasks.streams.redis.RedisReplies"

LOGGING_CONFIG = None
configure_logging(level=RTMANAGER.log_level, log_format=RTMANAGER.log_format)

# Celery: why each of these, and what the defaults lose or double, stands in docs/decisions.md.
_BROKER_SOCKET = {
    "socket_timeout": 10,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "global_keyprefix": f"rtm:{RTMANAGER.stack}:celery:",
}
CELERY_IMPORTS = [
    "tasks.lifecycle", "tasks.monitors", "tasks.canary", "tasks.leaving", "tasks.watchdog", "tasks.heartbeats",
    "tasks.tallying",
    # Only with the setting: without it, nothing of it is in the process.
    *(["tasks.traces"] if RTMANAGER.traces_endpoint else []),
]  # fmt: skip
CELERY_BROKER_URL = RTMANAGER.broker_url
CELERY_BROKER_TRANSPORT_OPTIONS = _BROKER_SOCKET
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_REJECT_ON_WORKER_LOST = False
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "periodic"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Never: by default a worker connects to the database anew for each task. What ours does instead: rtmanager/celery.py.
CELERY_DB_REUSE_MAX = sys.maxsize
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False


def _periodic(task: str, every: timedelta, *, queue: str = "periodic") -> dict[str, object]:
    # Expires before the next one is due: periodic work is never piled up by a worker that was away.
    seconds = every.total_seconds()
    return {"task": task, "every_seconds": seconds, "expires_seconds": seconds * 0.9, "queue": queue}


# Kept by the clock (tasks/clock.py).
RTM_SCHEDULE = {
    "reconcile": _periodic("rtmanager.reconcile", RTMANAGER.reconcile_interval),
    "inspect-runtimes": _periodic("rtmanager.inspect_runtimes", RTMANAGER.inspect_interval),
    "clean-up-expired": _periodic("rtmanager.clean_up_expired", RTMANAGER.cleanup_interval),
    "trim-outbox": _periodic("rtmanager.trim_outbox", timedelta(hours=1)),
    "trim-black-boxes": _periodic("rtmanager.trim_black_boxes", timedelta(hours=1)),
    "trim-results": _periodic("rtmanager.trim_results", timedelta(hours=1)),
    "fold-tallies": _periodic("rtmanager.fold_tallies", timedelta(seconds=15)),
    # By the way of the real work, so that it tells whether that is open.
    "canary": _periodic("rtmanager.canary", timedelta(seconds=15), queue="lifecycle"),
}
# Told to Celery in the worker only (rtmanager/celery.py): nobody else keeps or reads results.
RTM_RESULT_BACKEND = result_backend_url(RTMANAGER.database_url)
# At the first result, not at the start: a worker must come up while the database is still away.
CELERY_DATABASE_CREATE_TABLES_AT_SETUP = False
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = 7 * 24 * 3600

# The API's views say the rest themselves (runtimes/api/base.py); one without that base class is shut, not open.
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "runtimes.api.errors.handle_exception",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Runtime Manager",
    "DESCRIPTION": "Starts, stops and remembers one game engine per game, each in a Docker container of its own.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": r"/api/v1/internal",
    "SERVE_INCLUDE_SCHEMA": False,
    # What the API looks like is no secret; what it holds is. A browser has no token to show.
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "RuntimeStatus": "runtimes.states.RuntimeStatus",
        "OperationState": "operations.states.OpState",
        "OperationOutcome": "operations.states.Outcome",
        "OperationKind": "operations.states.OpKind",
        "OperationSource": "operations.states.OpSource",
        "StopReason": "operations.states.StopReason",
        "BlackBoxCause": "operations.states.BoxCause",
        "ErrorCode": "runtimes.api.schema.ERROR_CODES",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}
