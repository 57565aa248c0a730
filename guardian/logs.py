"""One structured line per log record, secrets masked: JSON for machines, colours on a terminal."""

import logging.config
from functools import cache
from typing import Any

import structlog
from django.conf import settings

from guardian import reports
from guardian.redaction import redact, redact_report

# Shorter ones stand in ordinary words; the installation's own are all longer.
SHORTEST_SECRET = 8


@cache
def own_secrets() -> tuple[str, ...]:
    """The secrets this installation was started with, longest first."""
    found = {
        settings.SECRET_KEY,
        settings.WEBHOOK_KEY,
        settings.ADMIN_PASSWORD,
        settings.BOOTSTRAP_TOKEN,
        settings.EMBEDDING_API_KEY,
        settings.LLM_API_KEY,
        *settings.TOOL_SECRETS.values(),
        *(pepper.hex() for pepper in settings.TOKEN_PEPPERS.values()),
        str(settings.DATABASES["default"]["PASSWORD"]),
    }
    return tuple(sorted((s for s in found if len(s) >= SHORTEST_SECRET), key=len, reverse=True))


def masked(value: Any) -> Any:
    """What may leave towards logs and error reports."""
    return redact(value, lambda text: redact_report(text, own_secrets()))


def _mask(_: Any, __: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
    clean: structlog.typing.EventDict = masked(dict(record))
    return clean


def _report(_: Any, __: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A crash goes to Sentry, too, where there is one; told before its traceback becomes text."""
    if record.get("level") in {"error", "critical"} and record.get("exc_info"):
        reports.capture(record["exc_info"], event=str(record.get("event", "")))
    return record


def bind_actor(*, team_id: Any, actor_id: Any) -> None:
    """From here on every line of this request or job says who does it, and for which team."""
    structlog.contextvars.bind_contextvars(team=str(team_id), actor=str(actor_id))


def configure(options: dict[str, Any]) -> None:
    """`options`: level (a logging name) and format (json or console)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _report,
        structlog.processors.format_exc_info,
        _mask,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if options["format"] == "console"
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "main": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        renderer,
                    ],
                }
            },
            "handlers": {"main": {"class": "logging.StreamHandler", "formatter": "main"}},
            "root": {"handlers": ["main"], "level": options["level"]},
            "loggers": {
                # Django gives its own loggers a level, which would stand above the root's.
                "django": {"level": "NOTSET"},
                "django.server": {"level": "WARNING"},
                "procrastinate": {"level": "WARNING"},
                "uvicorn.access": {"level": "WARNING"},
                # It writes addresses with path and query, which may be somebody's secret.
                "urllib3": {"level": "ERROR"},
            },
        }
    )
