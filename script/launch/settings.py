"""Every variable Lemnos reads: name, default, meaning. docs/settings.md is made from this table."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.failure import WRONG_SETTING, Failure


@dataclass(frozen=True)
class Setting:
    """One environment variable; `default` is as shown to people."""

    name: str
    default: str
    meaning: str


SETTINGS = (
    Setting("LEMNOS_PORT", "8000", "TCP port of the web process"),
    Setting("LEMNOS_BIND", "127.0.0.1", "address the web process listens on"),
    Setting("LEMNOS_DATA_DIR", "./var", "database, secrets, logs, backups; mode 0700"),
    Setting("LEMNOS_PYTHON", "newest found", "Python ≥ 3.11 that the virtualenv is made with"),
    Setting(
        "LEMNOS_ADMIN_PASSWORD",
        "generated",
        "first password of user `admin`; a generated one must be changed after login",
    ),
    Setting("LEMNOS_BOOTSTRAP_TOKEN", "none", "API token made at start, for automation"),
    Setting(
        "DATABASE_URL", "embedded", "PostgreSQL ≥ 15 with pgvector: postgres://user:pass@host/name"
    ),
    Setting("REDIS_URL", "embedded", "Redis for hints between processes; without one they poll"),
    Setting(
        "LEMNOS_SECRET_KEY",
        "`secrets/`",
        "signs sessions, 32 characters or more; the same on every host",
    ),
    Setting(
        "LEMNOS_TOKEN_PEPPERS", "`secrets/`", "`id:hex,…` newest first; the same on every host"
    ),
    Setting(
        "LEMNOS_WEBHOOK_KEY", "`secrets/`", "webhook secrets derive from it; same on every host"
    ),
    Setting("LEMNOS_ENVIRONMENT", "production", "name shown in pages, logs and error reports"),
    Setting(
        "LEMNOS_ALLOWED_HOSTS",
        "localhost names",
        "further host names the web process answers to",
    ),
    Setting(
        "LEMNOS_TRUSTED_PROXIES",
        "none",
        "addresses or networks whose forwarding headers are believed",
    ),
    Setting(
        "LEMNOS_EGRESS_ALLOW",
        "none",
        "networks that outgoing calls may reach beside the public internet: `10.1.0.0/16` at the"
        " usual ports, `10.1.2.3:8443` at one other",
    ),
    Setting("LEMNOS_WEBHOOK_HTTP", "0", "1 allows outgoing calls over plain http on port 80"),
    Setting(
        "LEMNOS_METRICS_ALLOW",
        "loopback",
        "networks that may read /metrics without a token, unless a proxy forwards for them",
    ),
    Setting("LEMNOS_SHUTDOWN_SECONDS", "25", "time to finish or hand back work after SIGTERM"),
    Setting("LEMNOS_DEMO", "1", "0 starts without the demo ticket"),
    Setting("LEMNOS_DEBUG", "0", "1 shows tracebacks in pages; never in production"),
    Setting("LEMNOS_LOG_LEVEL", "info", "debug, info, warning or error"),
    Setting("LEMNOS_LOG_FORMAT", "json", "json or console (the default on a terminal)"),
    Setting("WORKER_CONCURRENCY", "2", "jobs of the work lane that run at once"),
    Setting(
        "LEMNOS_BACKUPS",
        "hourly; daily",
        "backups in the data directory: hourly (the embedded database), daily at 03:00 UTC"
        " (`DATABASE_URL`) or off",
    ),
    Setting("EVENT_RETENTION_DAYS", "365", "days events stay; 0 keeps them for ever"),
    Setting("DOCKER_HOST", "probed", "Docker engine for the sandbox"),
    Setting("LEMNOS_SANDBOX_IMAGE", "pinned", "image that untrusted code runs in"),
    Setting(
        "LEMNOS_UNTRUSTED_LEVEL",
        "container",
        "weakest isolation for untrusted code: container, bwrap+, bwrap",
    ),
    Setting("LEMNOS_TOOL_SECRETS", "none", "secrets that tools may be given, by name"),
    Setting("EMBEDDING_PROVIDER", "local", "local or http"),
    Setting("EMBEDDING_URL", "none", "OpenAI-compatible embeddings endpoint"),
    Setting("EMBEDDING_MODEL", "none", "model name sent to that endpoint"),
    Setting("EMBEDDING_API_KEY", "none", "key for that endpoint"),
    Setting("LLM_API_KEY", "none", "its key"),
    Setting("SENTRY_DSN", "none", "where crashes are told: docs/recipes/observe.md"),
    Setting("OTEL_EXPORTER_OTLP_ENDPOINT", "none", "where spans go: docs/recipes/observe.md"),
    Setting(
        "LEMNOS_REQUIRE",
        "none",
        "script/test: docker, browser, bwrap must be there instead of skipping",
    ),
)
NAMES = frozenset(setting.name for setting in SETTINGS)


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Stop at a LEMNOS_ variable nobody reads: it is a typing error that would go unnoticed."""
    for name in sorted(environment):
        if name.startswith("LEMNOS_") and name not in NAMES:
            near = difflib.get_close_matches(name, sorted(NAMES), n=1, cutoff=0)
            raise Failure(WRONG_SETTING, f"unknown setting {name}; did you mean {near[0]}?")


@dataclass(frozen=True)
class Options:
    """The settings the launcher itself acts on."""

    port: int
    bind: str
    data_dir: Path
    database_url: str
    redis_url: str
    shutdown_seconds: int

    @property
    def url(self) -> str:
        host = "localhost" if self.bind in {"0.0.0.0", "::", "127.0.0.1"} else self.bind  # noqa: S104  compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def read_options(root: Path) -> Options:
    """Read and check the launcher's own settings. Raises Failure (exit 2)."""
    refuse_unknown(os.environ)
    return Options(
        port=whole_number("LEMNOS_PORT", 8000, lowest=1, highest=65535),
        bind=os.environ.get("LEMNOS_BIND") or "127.0.0.1",
        data_dir=Path(os.environ.get("LEMNOS_DATA_DIR") or root / "var").expanduser().resolve(),
        database_url=os.environ.get("DATABASE_URL", ""),
        redis_url=os.environ.get("REDIS_URL", ""),
        shutdown_seconds=whole_number("LEMNOS_SHUTDOWN_SECONDS", 25, lowest=1, highest=3600),
    )


def whole_number(name: str, default: int, *, lowest: int, highest: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
        raise Failure(WRONG_SETTING, f"{name}={text}: expected a number from {lowest} to {highest}")
    return int(text)


def as_markdown() -> str:
    """The table of docs/settings.md."""
    rows = [f"| `{item.name}` | {item.default} | {item.meaning} |" for item in SETTINGS]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows])
