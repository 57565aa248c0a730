"""One structured line per log record, secrets masked: JSON for machines, colours on a terminal."""

import logging.config
from typing import Any

import structlog

from guardian.redaction import redact


def _mask(_: Any, __: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
    masked: structlog.typing.EventDict = redact(dict(record))
    return masked


def configure(options: dict[str, Any]) -> None:
    """`options`: level (a logging name) and format (json or console)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
                "django.server": {"level": "WARNING"},
                "procrastinate": {"level": "WARNING"},
                "uvicorn.access": {"level": "WARNING"},
                # It writes addresses with path and query, which may be somebody's secret.
                "urllib3": {"level": "ERROR"},
            },
        }
    )
