"""All settings in one place: read from the environment once, typed, each one used by code."""

import os
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import django_stubs_ext
from environs import Env

from config import reading

django_stubs_ext.monkeypatch()

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("LEMNOS_DATA_DIR", str(BASE_DIR / "var"))).resolve()

# Identity and secrets: script/server makes them under secrets/; all hosts share the same.
DEBUG = env.bool("LEMNOS_DEBUG", False)
TESTING = "pytest" in sys.modules
SECRET_KEY = reading.secret("LEMNOS_SECRET_KEY", "" if not TESTING else "only-for-tests" * 4)
# "id:hex,id:hex", newest first: the newest signs new tokens, all of them verify.
TOKEN_PEPPERS = reading.peppers("LEMNOS_TOKEN_PEPPERS", "t1:" + "00" * 32 if TESTING else "")
WEBHOOK_KEY = env.str("LEMNOS_WEBHOOK_KEY", "" if not TESTING else "only-for-tests" * 4)
ADMIN_PASSWORD = env.str("LEMNOS_ADMIN_PASSWORD", "")
# One that was printed at the start is no secret: after login another is asked for.
ADMIN_PASSWORD_PRINTED = reading.made_up(DATA_DIR / "secrets" / "admin_password", ADMIN_PASSWORD)
BOOTSTRAP_TOKEN = env.str("LEMNOS_BOOTSTRAP_TOKEN", "")
ENVIRONMENT = env.str("LEMNOS_ENVIRONMENT", "production")

# Addresses.
PORT = reading.whole("LEMNOS_PORT", 8000, lowest=1, highest=65535)
BIND = env.str("LEMNOS_BIND", "127.0.0.1")
# The machine itself may always ask: readiness is looked at from beside the process.
ALLOWED_HOSTS = [
    *("localhost", "127.0.0.1", "[::1]"),
    *env.list("LEMNOS_ALLOWED_HOSTS", ["testserver"] if TESTING else []),
]
TRUSTED_PROXIES = reading.networks("LEMNOS_TRUSTED_PROXIES")
EGRESS_ALLOW: list[str] = env.list("LEMNOS_EGRESS_ALLOW", [])
WEBHOOK_HTTP = env.bool("LEMNOS_WEBHOOK_HTTP", False)
# Networks whose machines read /metrics without a token, unless a proxy forwards for them.
METRICS_ALLOW: list[str] = env.list("LEMNOS_METRICS_ALLOW", ["127.0.0.0/8", "::1/128"])


def database_from_url(url: str) -> dict[str, Any]:
    """Django's DATABASES entry for postgres://user:password@host:port/name?host=/socket/dir."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/") or "lemnos",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", parts.hostname or ""),
        "PORT": str(parts.port or ""),
        # A pooled connection is asked before use: after a database restart nobody gets a dead one.
        "CONN_HEALTH_CHECKS": True,
        # Short transactions only: nobody may sit in one while an agent, tool or model works.
        "OPTIONS": {
            # Shown beside each session in pg_stat_activity: which process holds what.
            "application_name": f"lemnos {socket.gethostname()}:{os.getpid()}",
            **query,
            # Only what asks for it is prepared (guardian/prepared.py); Django's default is never.
            "prepare_threshold": 2**31,
            "pool": {"min_size": 1, "max_size": 10, "timeout": 10} if not TESTING else False,
            "options": "-c statement_timeout=15000 -c lock_timeout=5000"
            " -c idle_in_transaction_session_timeout=30000",
        },
        "TEST": {"NAME": f"test_{parts.path.lstrip('/') or 'lemnos'}"},
    }


DATABASE_URL = reading.url(
    "DATABASE_URL", "postgres://postgres@/lemnos?host=/tmp", ["postgres", "postgresql"]
)
DATABASES = {"default": database_from_url(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Hints between processes only. Without Redis every reader polls once a second.
REDIS_URL = reading.url("REDIS_URL", "", ["redis", "rediss", "unix"])

OWN_APPS = ["guardian", "phases", "tools", "memory", "orchestrator"]
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "pgtrigger",
    "channels",
    "procrastinate.contrib.django",
    *OWN_APPS,
]
MIDDLEWARE = [
    "guardian.middleware.ForwardedSchemeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "guardian.middleware.RequestContextMiddleware",
    "guardian.middleware.MetricsMiddleware",
    "guardian.middleware.ApiProblemMiddleware",
    "guardian.middleware.ReadOnlyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "guardian.limits.RateLimitMiddleware",
    "guardian.middleware.FirstPasswordMiddleware",
    "guardian.fencing.FenceMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before every app's own: what Lemnos words differently in the pages of others.
        "DIRS": [BASE_DIR / "guardian" / "overrides"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_USER_MODEL = "guardian.User"
AUTHENTICATION_BACKENDS = ["guardian.backends.AuthorityBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
if TESTING:
    # The cast of every test logs in; a slow hash would only make the suite slow.
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
# TLS ends at the operator's proxy, which redirects and sets HSTS; on localhost there is none.
# Cookies of a request that came by TLS are made Secure one by one (ForwardedSchemeMiddleware).
SILENCED_SYSTEM_CHECKS = ["security.W004", "security.W008", "security.W012", "security.W016"]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
# Times are told with their zone, in every page.
FORMAT_MODULE_PATH = "config.formats"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# The operators' admin. Its colours are those of the board.
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Lemnos",
    "SITE_HEADER": "Lemnos",
    "SITE_SUBHEADER": "Operators",
    "SITE_URL": "/",
    "SITE_ICON": "/static/lemnos/mark.svg",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "/static/lemnos/mark.svg"},
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SIDEBAR": {
        "show_search": True,
        "navigation": "guardian.console.navigation",
    },
    "COLORS": {
        "base": {
            "50": "#f6f6f4",
            "100": "#efeeeb",
            "200": "#e2e0db",
            "300": "#cfccc4",
            "400": "#a8a399",
            "500": "#65625b",
            "600": "#4c4943",
            "700": "#3a3834",
            "800": "#2b2926",
            "900": "#1b1a18",
            "950": "#141312",
        },
        "primary": {
            "50": "#fff7ed",
            "100": "#ffedd5",
            "200": "#fed7aa",
            "300": "#fdba74",
            "400": "#fb923c",
            "500": "#fb8c4e",
            "600": "#c2410c",
            "700": "#9a3412",
            "800": "#7c2d12",
            "900": "#6a2410",
            "950": "#431407",
        },
    },
}

# Requests to the API in 60 s, for each token, each person's session, each address without either.
RATE_LIMITS = {"token": 600, "session": 1200, "anonymous": 30}
if TESTING:
    # Hundreds of tests share one address; those about limits set their own.
    RATE_LIMITS = dict.fromkeys(RATE_LIMITS, 1_000_000)

# JSON bodies stay small; files have their own endpoint and their own limit.
DATA_UPLOAD_MAX_MEMORY_SIZE = 21 * 1024 * 1024
JSON_BODY_LIMIT = 1024 * 1024
FILE_BODY_LIMIT = 20 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "guardian.identity.TokenAuthentication",
        "guardian.identity.SessionActorAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["guardian.identity.ScopePermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["guardian.bodies.StrictJSONParser"],
    "EXCEPTION_HANDLER": "guardian.problems.problem_handler",
    "DEFAULT_SCHEMA_CLASS": "guardian.schema.LemnosSchema",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lemnos",
    "DESCRIPTION": "Control plane for teams of software agents: tickets, gates, tools, memory.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "PREPROCESSING_HOOKS": ["guardian.schema.api_only"],
    # Enums stay where they are used: names made up for shared ones change with every new field.
    "POSTPROCESSING_HOOKS": ["guardian.schema.add_stream", "guardian.schema.add_problem"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# Background work.
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "jobs"
PROCRASTINATE_ON_APP_READY = "guardian.procrastinate_app.configure"
WORKER_CONCURRENCY = reading.whole("WORKER_CONCURRENCY", 2, lowest=1)
SHUTDOWN_SECONDS = reading.whole("LEMNOS_SHUTDOWN_SECONDS", 25, lowest=1)
BACKUPS = env.str("LEMNOS_BACKUPS", "daily")
EVENT_RETENTION_DAYS = reading.whole("EVENT_RETENTION_DAYS", 365, lowest=0)

# Sandbox and models.
SANDBOX_IMAGE = env.str("LEMNOS_SANDBOX_IMAGE", "")
UNTRUSTED_LEVEL = env.str("LEMNOS_UNTRUSTED_LEVEL", "container")

# Tabs of a ticket's panel that other apps fill: name, heading, route of the fragment by ticket.
PANEL_TABS = [
    ("runs", "Runs", "panel-runs"),
    ("cost", "Cost", "panel-cost"),
    ("memory", "Memory", "panel-memory"),
]
EMBEDDING_PROVIDER = env.str("EMBEDDING_PROVIDER", "local")
EMBEDDING_URL = env.str("EMBEDDING_URL", "")
EMBEDDING_MODEL = env.str("EMBEDDING_MODEL", "")
EMBEDDING_API_KEY = env.str("EMBEDDING_API_KEY", "")
DEMO = env.bool("LEMNOS_DEMO", True)

# How the claim of a task and its life are timed; the database clock decides.
LEASE_DEFAULT = timedelta(seconds=60)

VERSION = "0.1.0"
# Secrets that are only kept out of logs and reports here.
LLM_API_KEY = env.str("LLM_API_KEY", "")
# Names and values: `github=…,registry=…`.
TOOL_SECRETS: dict[str, str] = env.dict("LEMNOS_TOOL_SECRETS", {})
# Who collects crashes and spans; their libraries are in requirements-observability.txt.
SENTRY_DSN = reading.sentry("SENTRY_DSN")
OTLP_ENDPOINT = reading.url("OTEL_EXPORTER_OTLP_ENDPOINT", "", ["http", "https"])

LOG_LEVEL = reading.one_of(
    "LEMNOS_LOG_LEVEL", "info", ["debug", "info", "warning", "error", "critical"]
).upper()
LOG_FORMAT = reading.one_of(
    "LEMNOS_LOG_FORMAT", "console" if sys.stderr.isatty() else "json", ["json", "console"]
)
LOGGING_CONFIG = "guardian.logs.configure"
LOGGING: dict[str, Any] = {"level": LOG_LEVEL, "format": LOG_FORMAT}
