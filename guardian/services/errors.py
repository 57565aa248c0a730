"""Errors are kept once per cause."""

import hashlib
import re
import traceback
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from guardian import events, reports
from guardian.authority import Actor, require_scope
from guardian.errors import IllegalTransition, NotFound
from guardian.models import ErrorLog, Team
from guardian.outbox import emit
from guardian.redaction import stored_text

_VARIABLE = re.compile(
    r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|'[^']*'|\"[^\"]*\"|\d+", re.IGNORECASE
)
EVENT_EVERY = timedelta(seconds=300)


@transaction.atomic
def log_error(
    *,
    error: BaseException,
    component: str,
    team_id: UUID | None = None,
    subject_label: str = "",
    subject_id: str = "",
    severity: str = ErrorLog.Severity.HIGH,
) -> ErrorLog:
    """Write or count one error; the same unresolved cause stays one row."""
    reports.capture(error, event=component)
    message = stored_text(str(error))[:4000]
    frame = traceback.extract_tb(error.__traceback__)[-1:] if error.__traceback__ else []
    place = f"{frame[0].filename.rpartition('/')[2]}:{frame[0].name}" if frame else ""
    text = "|".join([type(error).__name__, component, place, _VARIABLE.sub("#", message)])
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    now = timezone.now()
    if team_id is not None and not Team.objects.filter(pk=team_id).exists():
        team_id = None  # events may outlive their team, and an error must be written down anyway
    known = (
        ErrorLog.objects.select_for_update()
        .filter(team_id=team_id, fingerprint=fingerprint, resolved_at=None)  # type: ignore[misc]  # None is IS NULL
        .first()
    )
    if known is None:
        known = ErrorLog.objects.create(
            team_id=team_id,
            error_type=type(error).__name__[:100],
            error_message=message,
            stack_trace=stored_text("".join(traceback.format_exception(error)))[-8000:],
            error_code=getattr(error, "code", "") or "",
            component=component,
            severity=severity,
            fingerprint=fingerprint,
            first_seen_at=now,
            last_seen_at=now,
            subject_label=subject_label,
            subject_id=subject_id,
        )
        tell = True
    else:
        tell = now - known.last_seen_at > EVENT_EVERY
        ErrorLog.objects.filter(pk=known.pk).update(count=F("count") + 1, last_seen_at=now)
    if tell:
        emit(
            events.ERROR_LOGGED,
            subject=known,
            team_id=team_id,
            error_type=known.error_type,
            component=component,
            severity=known.severity,
        )
    return known


@transaction.atomic
def resolve_error(*, actor: Actor, error_id: UUID, reason: str) -> ErrorLog:
    """Close an error; the same cause coming back opens a new row.

    Raises NotFound, ScopeMissing, IllegalTransition.
    """
    require_scope(actor, "system:operate")
    error = ErrorLog.objects.select_for_update().filter(pk=error_id).first()
    if error is None or error.team_id not in {None, actor.team_id}:
        raise NotFound("There is no such error.")
    if error.resolved_at is not None:
        raise IllegalTransition("This error is resolved already.", allowed=[])
    error.resolved_at = timezone.now()
    error.save(update_fields=["resolved_at"])
    emit(
        events.ERROR_RESOLVED,
        subject=error,
        actor=actor,
        reason=reason,
        error_type=error.error_type,
        component=error.component,
        count=error.count,
    )
    return error
