"""Event kinds that guardian emits. Data keys in the comments."""

TEAM_CREATED = "guardian.team.created"  # slug
TEAM_RENAMED = "guardian.team.renamed"  # before, after: name
USER_CREATED = "guardian.user.created"  # username, kind_of_user
USER_DEACTIVATED = "guardian.user.deactivated"  # username, kind_of_user
USER_REACTIVATED = "guardian.user.reactivated"  # username, kind_of_user
PASSWORD_RESET = "guardian.password.reset"  # noqa: S105  username, kind_of_user
PASSWORD_CHANGED = "guardian.password.changed"  # noqa: S105  username
MEMBERSHIP_CHANGED = "guardian.membership.changed"  # user_id, before and after: role, authority
TOKEN_CREATED = "guardian.token.created"  # noqa: S105  name, key_id, scopes
TOKEN_REVOKED = "guardian.token.revoked"  # noqa: S105  key_id
COST_CHARGED = "guardian.cost.charged"  # amount, task_id, ticket_id, provider, model
BUDGET_CREATED = "guardian.budget.created"  # scope_type, scope_id; after
BUDGET_CHANGED = "guardian.budget.changed"  # scope_type, scope_id; before, after
BUDGET_DELETED = "guardian.budget.deleted"  # scope_type, scope_id; before
BUDGET_WARNED = "guardian.budget.warned"  # scope_type, scope_id, limit, spent
BUDGET_CRITICAL = "guardian.budget.critical"  # scope_type, scope_id, limit, spent
BUDGET_EXCEEDED = "guardian.budget.exceeded"  # scope_type, scope_id, limit, spent
PACK_BUILT = "guardian.pack.built"  # asof_date, content_hash
LOCK_ACQUIRED = "guardian.lock.acquired"  # resource_type, resource_id, mode, fence
LOCK_RELEASED = "guardian.lock.released"  # resource_type, resource_id, reason
LOCK_EXPIRED = "guardian.lock.expired"  # resource_type, resource_id
LOCK_QUEUED = "guardian.lock.queued"  # resource_type, resource_id, mode, position
LOCK_GRANTED = "guardian.lock.granted"  # resource_type, resource_id, mode, fence, request_id
LOCK_CANCELLED = "guardian.lock.cancelled"  # resource_type, resource_id; the subject is a request
LOCK_TIMED_OUT = "guardian.lock.timed_out"  # resource_type, resource_id; the subject is a request
ERROR_LOGGED = "guardian.error.logged"  # error_type, component, severity
ERROR_RESOLVED = "guardian.error.resolved"  # error_type, component, count
DELIVERY_RETRIED = "guardian.delivery.retried"  # handler, event_id
DELIVERY_PARKED = "guardian.delivery.parked"  # handler, event_id
ACTION_EXECUTED = "guardian.action.executed"  # kind, target_label, target_id
ACTION_REVERTED = "guardian.action.reverted"  # kind, target_label, target_id
LEDGER_ARCHIVED = "guardian.ledger.archived"  # from_seq, to_seq, last_hash, sha256, file
LEDGER_BROKEN = "guardian.ledger.broken"  # seq, what
SCHEDULE_CREATED = "guardian.schedule.created"  # name, kind_of_event, cron, enabled
SCHEDULE_UPDATED = "guardian.schedule.updated"  # name; before, after
SCHEDULE_DELETED = "guardian.schedule.deleted"  # name, kind_of_event, cron
WEBHOOK_CREATED = "guardian.webhook.created"  # name, kinds
WEBHOOK_CHANGED = "guardian.webhook.changed"  # name, fields
WEBHOOK_DELETED = "guardian.webhook.deleted"  # name
WEBHOOK_ROTATED = "guardian.webhook.rotated"  # name, generation
WEBHOOK_TESTED = "guardian.webhook.tested"  # name; goes to this webhook alone
WEBHOOK_DISABLED = "guardian.webhook.disabled"  # name, failures
WEBHOOK_REDELIVERED = "guardian.webhook.redelivered"  # webhook_id, event_id
BACKUP_MADE = "guardian.backup.made"  # name, bytes, pruned
JOB_RETRIED = "guardian.job.retried"  # job, queue
JOB_CANCELLED = "guardian.job.cancelled"  # job, queue
SANDBOX_FLOOR_LOWERED = "guardian.sandbox.floor_lowered"  # level

# Names outside programs may use instead of the stored kind.
ALIASES = {
    LOCK_ACQUIRED: "resource.acquired",
    LOCK_RELEASED: "resource.released",
    LOCK_QUEUED: "resource.queued",
    LOCK_GRANTED: "resource.ready",
}
APP_LABELS = ("guardian", "phases", "tools", "memory", "orchestrator")


def alias_of(kind: str) -> str | None:
    """The unprefixed name of a stored kind: `phases.task.claimed` → `task.claimed`."""
    if kind in ALIASES:
        return ALIASES[kind]
    app, _, rest = kind.partition(".")
    return rest if app in APP_LABELS and "." in rest else None
