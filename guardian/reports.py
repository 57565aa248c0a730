"""Crashes told to Sentry, where SENTRY_DSN names one; else its library is not even imported."""

import sys
from typing import Any

import structlog
from django.conf import settings

_on = False
REPORTED = "_lemnos_reported"


def start() -> bool:
    """Begin to report; False: nobody wants to hear.

    Raises ImportError where the DSN is set and requirements-observability.txt is not there.
    """
    global _on  # noqa: PLW0603  one reporter per process
    if not settings.SENTRY_DSN:
        return False
    import sentry_sdk

    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        release=f"lemnos@{settings.VERSION}",
        environment=settings.ENVIRONMENT,
        # What we tell is what `capture` is given: no request, no variables, no hook of its own.
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        server_name="",
        auto_session_tracking=False,
        before_send=_clean,
    )
    _on = True
    return True


def stop(seconds: float = 2.0) -> None:
    """Send what waits, and no more from here on."""
    global _on  # noqa: PLW0603  as above
    if _on:
        import sentry_sdk

        sentry_sdk.get_client().close(timeout=seconds)
        _on = False


def capture(error: Any, *, event: str = "") -> None:
    """Report an exception, or the one being handled, once; with what the log lines know."""
    if not _on:
        return
    import sentry_sdk

    found = error if isinstance(error, BaseException) else _handled(error)
    # The same crash is logged by us and by Django.
    if found is None or getattr(found, REPORTED, False):
        return
    setattr(found, REPORTED, True)
    known = structlog.contextvars.get_contextvars()
    with sentry_sdk.new_scope() as scope:
        if known.get("actor"):
            from guardian.tracing import hashed

            scope.set_user({"id": hashed(known["actor"])})
        for name in ("request_id", "trace_id", "team", "ticket", "task", "run", "job_name"):
            if known.get(name):
                scope.set_tag(name, str(known[name]))
        if event:
            scope.set_tag("event", event[:200])
        scope.capture_exception(found)


def _handled(info: Any) -> BaseException | None:
    error = info[1] if isinstance(info, tuple) else sys.exc_info()[1]
    return error if isinstance(error, BaseException) else None


def _clean(event: Any, _hint: Any) -> Any:
    from guardian.logs import masked

    event.pop("modules", None)
    event.pop("server_name", None)
    return masked(event)
