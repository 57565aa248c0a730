"""Events by the clock: made, changed, told when due, and told now."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F

from guardian import cron, events
from guardian.authority import Actor, require_scope
from guardian.errors import AlreadyExists, DomainError, NotFound, StaleVersion
from guardian.kinds import PRIORITY_WORDS, require_outside
from guardian.models import Event, ScheduledEvent, Team
from guardian.outbox import PRIORITIES, check_size, emit, emit_data
from guardian.services.errors import log_error

SCOPE = "events:schedule"
MOST_MISSED = 100
# After a fault.
POSTPONED = timedelta(minutes=5)
SHIPPED = {
    "name": "Regression run",
    "kind": "schedule.regression",
    "cron": "0 */6 * * *",
    "enabled": False,
}
_TIMED = {"cron", "timezone", "enabled"}


@transaction.atomic
def create_schedule(*, actor: Actor, **fields: Any) -> ScheduledEvent:
    """Raises ScopeMissing, KindReserved, Invalid, AlreadyExists."""
    require_scope(actor, SCOPE)
    return _create(team=actor.team, actor=actor, fields=fields)


def _create(*, team: Team, actor: Actor | None, fields: dict[str, Any]) -> ScheduledEvent:
    schedule = ScheduledEvent(team=team, **_stored(fields))
    _check(schedule)
    schedule.next_run = _first_run(schedule)
    _save(schedule)
    emit(
        events.SCHEDULE_CREATED,
        subject=schedule,
        actor=actor,
        name=schedule.name,
        kind_of_event=schedule.kind,
        cron=schedule.cron,
        enabled=schedule.enabled,
    )
    return schedule


@transaction.atomic
def update_schedule(
    *,
    actor: Actor,
    schedule_id: UUID,
    changes: dict[str, Any],
    version: int | None = None,
    reason: str = "",
) -> ScheduledEvent:
    """Change a schedule; another cron, zone or switch sets its next time anew.

    Raises NotFound, ScopeMissing, StaleVersion, KindReserved, Invalid, AlreadyExists.
    """
    schedule = _locked(actor, schedule_id, version)
    stored = _stored(changes)
    before = {name: getattr(schedule, name) for name in stored}
    changed = {name: value for name, value in stored.items() if before[name] != value}
    if not changed:
        return schedule
    for name, value in changed.items():
        setattr(schedule, name, value)
    _check(schedule)
    if _TIMED & set(changed):
        schedule.next_run = _first_run(schedule)
    schedule.version += 1
    _save(schedule, update_fields=[*changed, "next_run", "version", "updated_at"])
    emit(
        events.SCHEDULE_UPDATED,
        subject=schedule,
        actor=actor,
        reason=reason,
        before={name: before[name] for name in changed},
        after=changed,
        name=schedule.name,
    )
    return schedule


@transaction.atomic
def delete_schedule(
    *, actor: Actor, schedule_id: UUID, version: int | None = None, reason: str = ""
) -> None:
    """Raises NotFound, ScopeMissing, StaleVersion."""
    schedule = _locked(actor, schedule_id, version)
    emit(
        events.SCHEDULE_DELETED,
        subject=schedule,
        actor=actor,
        reason=reason,
        name=schedule.name,
        kind_of_event=schedule.kind,
        cron=schedule.cron,
    )
    schedule.delete()


@transaction.atomic
def run_schedule_now(*, actor: Actor, schedule_id: UUID, reason: str = "") -> Event:
    """Tell it now, whether or not it is enabled; its next time stays. Raises NotFound,
    ScopeMissing.
    """
    schedule = _locked(actor, schedule_id, None)
    event = _tell(schedule, actor=actor, reason=reason or f"Run now by {actor.name}.")
    ScheduledEvent.objects.filter(pk=schedule.pk).update(
        last_run=_now(), run_count=F("run_count") + 1
    )
    return event


def run_due_schedules(*, limit: int = 1000) -> int:
    """Tell what is due, each schedule in a transaction of its own. Returns how many events.

    Any number of workers may do this at once: a row is taken by one of them. One that cannot be
    told is noted and tried again later; the others go on.
    """
    told = 0
    for _ in range(limit):
        events_of_one = _run_one()
        if events_of_one is None:
            break
        told += events_of_one
    return told


@transaction.atomic
def _run_one() -> int | None:
    schedule = ScheduledEvent.objects.due().select_for_update(skip_locked=True).first()
    if schedule is None or schedule.next_run is None:
        return None
    try:
        with transaction.atomic():
            return _run(schedule)
    except DomainError as fault:
        _postpone(schedule, fault)
        return 0


def _postpone(schedule: ScheduledEvent, fault: DomainError) -> None:
    """A zone that this host does not know, or a kind that is ours by now, is no reason to stop.

    Whoever reads the errors, or another host, can mend it; until then it is tried again.
    """
    log_error(
        error=fault,
        component="guardian.schedules",
        team_id=schedule.team_id,
        subject_label="guardian.ScheduledEvent",
        subject_id=str(schedule.pk),
    )
    schedule.next_run = _now() + POSTPONED
    schedule.save(update_fields=["next_run", "updated_at"])


def _run(schedule: ScheduledEvent) -> int:
    now = _now()
    runs = runs_of(schedule, now)
    for at in runs:
        _tell(schedule, actor=None, reason=f"Due at {at.isoformat()}.")
    upcoming = cron.next_after(schedule.cron, schedule.timezone, now)
    # A line whose last day has passed has nothing to wait for.
    schedule.enabled, schedule.next_run = upcoming is not None, upcoming
    schedule.run_count += len(runs)
    schedule.last_run = now if runs else schedule.last_run
    schedule.save(update_fields=["enabled", "next_run", "run_count", "last_run", "updated_at"])
    return len(runs)


def runs_of(schedule: ScheduledEvent, now: datetime) -> list[datetime]:
    """The times to tell of now, of all that came since its next run was set.

    Within the grace nothing is missed: it is told. After a longer pause its own word decides for
    all that came in it: none, one, or each (the newest 100).
    """
    if schedule.next_run is None:
        return []
    late = now - schedule.next_run > timedelta(seconds=schedule.grace_seconds)
    if late and schedule.missed == ScheduledEvent.Missed.SKIP:
        return []
    if schedule.missed != ScheduledEvent.Missed.ALL:
        return [schedule.next_run]
    return cron.newest_due(
        schedule.cron, schedule.timezone, schedule.next_run, now, most=MOST_MISSED
    )


@transaction.atomic
def seed_schedules(*, team: Team) -> ScheduledEvent | None:
    """The shipped schedule of a team, disabled. One that was renamed or deleted stays away."""
    known = Event.objects.filter(
        team=team, kind=events.SCHEDULE_CREATED, data__name=SHIPPED["name"], actor=None
    )
    if known.exists() or ScheduledEvent.objects.filter(team=team, name=SHIPPED["name"]).exists():
        return None
    return _create(team=team, actor=None, fields=dict(SHIPPED))


def _stored(fields: dict[str, Any]) -> dict[str, Any]:
    word = fields.get("priority")
    return {**fields, "priority": PRIORITIES[word]} if isinstance(word, str) else dict(fields)


def _check(schedule: ScheduledEvent) -> None:
    require_outside(schedule.kind)
    cron.check(schedule.cron, schedule.timezone)
    check_size(schedule.payload, path="payload")


def _first_run(schedule: ScheduledEvent) -> datetime | None:
    if not schedule.enabled:
        return None
    return cron.next_after(schedule.cron, schedule.timezone, _now())


def _save(schedule: ScheduledEvent, update_fields: list[str] | None = None) -> None:
    try:
        with transaction.atomic():
            schedule.save(update_fields=update_fields)
    except IntegrityError as error:
        if "schedule_name_is_unique_in_its_team" not in str(error):
            raise
        raise AlreadyExists(
            f"A schedule {schedule.name!r} exists already.", name=schedule.name
        ) from error


def _locked(actor: Actor, schedule_id: UUID, version: int | None) -> ScheduledEvent:
    require_scope(actor, SCOPE)
    schedule = (
        ScheduledEvent.objects.select_for_update()
        .filter(pk=schedule_id, team_id=actor.team_id)
        .first()
    )
    if schedule is None:
        raise NotFound("There is no such schedule.")
    if version is not None and version != schedule.version:
        raise StaleVersion(current_etag=f'"v{schedule.version}"')
    return schedule


def _tell(schedule: ScheduledEvent, *, actor: Actor | None, reason: str) -> Event:
    return emit_data(
        schedule.kind,
        data=schedule.payload,
        subject=schedule,
        actor=actor,
        priority=PRIORITY_WORDS[schedule.priority],
        reason=reason,
        source=Event.Source.SCHEDULE,
    )


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    return row[0]
