"""Guardian in the operators' admin."""

from importlib import import_module

from django.contrib import admin
from django.contrib.auth.models import Group

from guardian import (
    admin_webhooks,  # noqa: F401  registers its own
    console,
    links,
    models,
    row_panels,
    services,
)
from guardian.authority import GUARDIAN, Actor
from guardian.operators import RecordAdmin, reasoned_action

# Rights come from role, scope and authority; groups of Django permissions would grant nothing.
admin.site.unregister(Group)
admin.site.index_template = "guardian/operators/home.html"
admin.site.index_title = "Overview"
admin.site.site_title = admin.site.site_header = "Lemnos"


@admin.register(models.Event)
class EventAdmin(RecordAdmin):
    section = "Events"
    icon = "history"
    list_display = ["seq", "kind", "actor", "subject_label", "subject_id", "created_at"]
    list_filter = ["priority", "source", "actor_kind", "created_at"]
    search_fields = ["kind", "reason", "=subject_id", "=request_id"]
    ordering = ["-id"]  # made in the order of time

    def tables(self, row: models.Event) -> list[row_panels.Table]:
        return row_panels.of_event(row)

    def extra_links(self, row: models.Event) -> dict[str, str]:
        """All that happened in the same request."""
        same = links.list_of(models.Event, request_id=row.request_id)
        return {"Same request": same} if row.request_id else {}


@admin.register(models.Delivery)
class DeliveryAdmin(RecordAdmin):
    section = "Events"
    icon = "move_to_inbox"
    team_path = "event__team"
    list_select_related = ["event__team"]
    list_display = ["seq", "handler", "state", "attempts", "duration_ms", "processed_at"]
    list_filter = ["state", "handler"]
    search_fields = ["handler"]
    ordering = ["-id"]

    @reasoned_action(
        label="Try again now",
        scope="system:operate",
        fits=lambda delivery: delivery.state != models.Delivery.State.DONE,
    )
    def retry(self, *, actor: Actor, row: models.Delivery, reason: str) -> None:
        """The relay runs this receiver at once, with all its attempts before it."""
        services.retry_delivery(actor=actor, delivery_id=row.pk, reason=reason)

    @reasoned_action(
        label="Set aside",
        scope="system:operate",
        danger=True,
        fits=lambda delivery: delivery.state == models.Delivery.State.PENDING,
    )
    def park(self, *, actor: Actor, row: models.Delivery, reason: str) -> None:
        """Parks this receiver: its effect stays away until somebody tries it again."""
        services.park_delivery(actor=actor, delivery_id=row.pk, reason=reason)


@admin.register(models.IdempotencyKey)
class IdempotencyKeyAdmin(RecordAdmin):
    section = "Events"
    icon = "content_copy"
    team_path = None
    view_level = 5  # stored answers may name anything of any team
    exclude = ["body"]
    list_display = ["key", "owner", "status", "created_at"]
    list_filter = ["status"]
    search_fields = ["key"]


@admin.register(models.ErrorLog)
class ErrorLogAdmin(RecordAdmin):
    section = "Guard"
    icon = "bug_report"
    when_empty = "Nothing has gone wrong that Lemnos did not foresee."
    list_select_related = ["team"]
    list_display = ["error_type", "component", "severity", "count", "last_seen_at", "resolved_at"]
    list_filter = ["severity", "component"]
    search_fields = ["error_type", "error_message"]

    @reasoned_action(
        label="Mark as resolved",
        scope="system:operate",
        fits=lambda error: error.resolved_at is None,
    )
    def resolve(self, *, actor: Actor, row: models.ErrorLog, reason: str) -> None:
        """Closes this error. The same cause coming back opens a new row."""
        services.resolve_error(actor=actor, error_id=row.pk, reason=reason)


@admin.register(models.GuardianAction)
class GuardianActionAdmin(RecordAdmin):
    section = "Guard"
    icon = "gavel"
    when_empty = "Nobody has stepped in; a kill switch would be the first entry."
    list_display = ["kind", "state", "team", "initiated_by", "reason", "created_at"]
    list_filter = ["kind", "state"]
    search_fields = ["reason", "target_id"]

    @reasoned_action(
        label="Turn the kill switch off",
        scope="guardian:intervene",
        level=GUARDIAN,
        bulk=False,
        fits=lambda order: (order.kind, order.state) == ("kill_switch", "executed"),
    )
    def lift_kill_switch(self, *, actor: Actor, row: models.GuardianAction, reason: str) -> None:
        """New work may start again, in the team or everywhere, as the switch was set."""
        services.set_kill_switch(
            actor=actor, on=False, reason=reason, everywhere=row.team_id is None
        )


@admin.register(models.ResourceLock)
class ResourceLockAdmin(RecordAdmin):
    section = "Guard"
    icon = "lock"
    when_empty = "Nobody holds a lock. Agents take them for what they change."
    list_display = ["resource_type", "resource_id", "mode", "state", "holder", "expires_at"]
    list_filter = ["state", "mode", "resource_type"]
    search_fields = ["resource_id", "task_id"]

    def tables(self, row: models.ResourceLock) -> list[row_panels.Table]:
        return row_panels.of_lock(row)

    @reasoned_action(
        label="Release",
        scope="locks:break",
        level=GUARDIAN,
        danger=True,
        fits=lambda lock: lock.state == models.ResourceLock.State.HELD,
    )
    def release(self, *, actor: Actor, row: models.ResourceLock, reason: str) -> None:
        """Breaks this lock: whoever holds it is refused from now on by its old fence.

        Who waits for it first has it at once.
        """
        services.break_lock(actor=actor, lock_id=row.pk, reason=reason)


@admin.register(models.LockRequest)
class LockRequestAdmin(RecordAdmin):
    section = "Guard"
    icon = "hourglass_top"
    when_empty = "Nobody waits for a lock, and nobody ever had to."
    list_display = ["resource_type", "resource_id", "mode", "state", "requester", "wait_until"]
    list_filter = ["state", "priority", "mode", "resource_type"]
    search_fields = ["resource_id", "task_id"]

    @reasoned_action(
        label="Cancel",
        scope="locks:break",
        level=GUARDIAN,
        danger=True,
        fits=lambda request: request.state == models.LockRequest.State.WAITING,
    )
    def cancel(self, *, actor: Actor, row: models.LockRequest, reason: str) -> None:
        """Takes this place out of the line; those behind it move up. Its requester may ask anew."""
        services.cancel_request(actor=actor, request_id=row.pk, reason=reason)


@admin.register(models.PricePack)
class PricePackAdmin(RecordAdmin):
    section = "Money"
    icon = "sell"
    team_path = None
    list_select_related = ["superseded_by"]
    list_display = ["id", "asof_date", "status", "built_at"]
    list_filter = ["status"]
    search_fields = ["id"]


@admin.register(models.CostRecord)
class CostRecordAdmin(RecordAdmin):
    section = "Money"
    icon = "receipt_long"
    list_display = ["kind", "amount", "provider", "model", "ticket_id", "task_id", "created_at"]
    list_filter = ["kind", "provider"]
    search_fields = ["ticket_id", "task_id", "model"]


@admin.register(models.WorkerHost)
class WorkerHostAdmin(RecordAdmin):
    section = "Events"
    icon = "dns"
    team_path = None
    list_filter = ["heartbeat_at"]
    list_display = ["name", "queues", "concurrency", "started_at", "heartbeat_at"]
    search_fields = ["name"]


for _module in (
    "guardian.admin_people",
    "guardian.admin_schedules",
    "guardian.admin_jobs",
    "guardian.admin_budgets",
):
    import_module(_module)  # registers itself

console.page("API", icon="api", route="docs")
console.tile(
    "Kill switch on",
    models.GuardianAction,
    where={"kind__exact": "kill_switch", "state__exact": "executed"},
    group="attention",
)
console.tile(
    "Orders to decide",
    models.GuardianAction,
    where={"state__exact": "proposed"},
    group="waiting",
    scope="approvals:decide",
)
console.tile(
    "Receivers set aside",
    models.Delivery,
    where={"state__exact": "parked"},
    group="attention",
)
console.tile(
    "Open errors", models.ErrorLog, where={"resolved_at__isnull": "True"}, group="attention"
)
console.tile(
    "Locks",
    models.ResourceLock,
    where={"state__exact": "held"},
    group="headline",
    icon="lock",
    zero="Nothing is held",
)
console.tile(
    "Waiting for a lock", models.LockRequest, where={"state__exact": "waiting"}, group="running"
)
