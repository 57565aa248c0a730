"""Every refusal of Lemnos is a DomainError: its docstring is the message, its code is stable."""

from typing import Any, ClassVar


class DomainError(Exception):
    """The request cannot be carried out."""

    code: ClassVar[str] = "conflict"
    status: ClassVar[int] = 409
    remedy: ClassVar[str] = ""
    permanent: ClassVar[bool] = True
    retry_after: int | None = None
    # Members that a problem of this kind carries beside the common ones, as an example.
    example: ClassVar[dict[str, Any]] = {}

    def __init__(self, detail: str | None = None, **data: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip().splitlines()[0]
        self.retry_after = data.pop("retry_after", type(self).retry_after)
        if "remedy" in data:
            self.remedy_text = str(data.pop("remedy"))
        else:
            self.remedy_text = type(self).remedy
        self.data = data
        super().__init__(self.detail)

    def __str__(self) -> str:
        return self.detail


class Invalid(DomainError):
    """Something in the request is not valid."""

    code = "invalid"
    status = 400
    remedy = "Correct what it names, then send it again."
    example = {
        "errors": [{"path": "title", "code": "invalid", "message": "This field is required."}]
    }

    def __init__(
        self, detail: str | None = None, *, path: str = "", reason: str = "", **data: Any
    ) -> None:
        said = f"{path}: {reason}" if path and reason else reason
        super().__init__(detail or said or None, **data)
        # An empty path is the request as a whole.
        fault = {"path": path, "code": self.code, "message": reason or self.detail}
        self.data.setdefault("errors", [fault])


class BadFilter(Invalid):
    """A filter of this list is unknown or has a value it cannot take."""

    code = "bad_filter"
    remedy = "Use a filter that /api/docs lists for this address, with a value of its type."


class BadCursor(Invalid):
    """The cursor was not made by this list."""

    code = "bad_cursor"
    remedy = "Start again without cursor."


class Unauthorized(DomainError):
    """Log in or send a valid token."""

    code = "unauthorized"
    status = 401
    remedy = "Send 'Authorization: Bearer lem_…' or log in."


class TokenExpired(Unauthorized):
    """This token has expired."""

    code = "token_expired"
    remedy = "Ask for a new token."


class TokenRevoked(Unauthorized):
    """This token was revoked."""

    code = "token_revoked"
    remedy = "Ask for a new token."


class AddressNotAllowed(Unauthorized):
    """This token may not be used from this address."""

    code = "ip_not_allowed"
    remedy = "Use it from an address it allows, or ask its maker for one that allows yours."


class Forbidden(DomainError):
    """You may not do this."""

    code = "forbidden"
    status = 403
    remedy = "Ask an administrator of your team."


class ScopeMissing(Forbidden):
    """Your role or token lacks the scope that this needs."""

    code = "scope_missing"
    remedy = "Use a token with this scope, or ask an administrator for a role that has it."
    example = {"scope": "tickets:write"}


class AuthorityTooLow(Forbidden):
    """Your authority level is too low for this."""

    code = "authority_too_low"
    remedy = "Ask somebody with the required level."


class NotYours(Forbidden):
    """An agent changes only what it made, was given or works on."""

    code = "not_yours"
    remedy = "Claim a task of it first, or ask a person of the team."


class SelfReview(Forbidden):
    """Nobody decides about their own work."""

    code = "self_review"
    remedy = "Ask another member of your team."


class KindReserved(Forbidden):
    """This kind of event is Lemnos's own, or not of the form that others may use."""

    code = "kind_reserved"
    remedy = "Publish two or three words of a-z, 0-9 and _ with dots, as in build.finished."
    example = {"kind": "phases.ticket.created"}


class NotFound(DomainError):
    """There is no such thing here."""

    code = "not_found"
    status = 404
    remedy = "Check the id and the team; what belongs to another team is not found either."


class AlreadyExists(DomainError):
    """Something with this name exists already."""

    code = "already_exists"
    remedy = "Use the one that exists, or choose another name."


class IllegalTransition(DomainError):
    """This change of state is not allowed from here."""

    code = "illegal_transition"
    remedy = "Choose what its present state allows."
    example = {"allowed": ["PHASE_REPORT", "PHASE_BLOCKED"]}


class Immutable(DomainError):
    """This can no longer be changed."""

    code = "immutable"
    remedy = "Make a new version with the change."


class LeaseLost(DomainError):
    """This lease is over: another actor holds the work now, or nobody does."""

    code = "lease_lost"
    remedy = "stop; claim again"


class LockHeld(DomainError):
    """Another holder has this lock."""

    code = "lock_held"
    remedy = "Wait until it is released, or ask the holder."


class LockDeadlock(DomainError):
    """To wait for this lock would close a circle of waiting: nobody in it could ever go on."""

    code = "lock_deadlock"
    remedy = "Release what you hold, then ask for all you need in one fixed order."


class BudgetExceeded(DomainError):
    """A budget does not allow this much more."""

    code = "budget_exceeded"
    remedy = "Raise the limit, wait for the next period, or free held money."
    example = {"scope": "team", "limit": "20.00", "spent": "19.20", "reserved": "0.75"}


class StaleVersion(DomainError):
    """Somebody changed this in the meantime."""

    code = "stale_version"
    status = 412
    remedy = "Read it again and repeat the change with the new ETag."


class VersionRequired(DomainError):
    """This change needs an If-Match header."""

    code = "version_required"
    status = 428
    remedy = "Send If-Match with the ETag you read."


class IdempotencyKeyReused(DomainError):
    """This Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"
    status = 422
    remedy = "Use a new key for a new request."


class IdempotencyInProgress(DomainError):
    """The request with this Idempotency-Key is still running."""

    code = "idempotency_in_progress"
    retry_after = 1
    remedy = "Wait a second, then send the same request again for its answer."


class BodyTooLarge(DomainError):
    """The request body is too large."""

    code = "body_too_large"
    status = 413
    remedy = "Send less at once: JSON up to 1 MiB, a file up to 20 MiB."


class QuotaExceeded(DomainError):
    """A quota is used up."""

    code = "quota_exceeded"
    status = 429
    retry_after = 60
    remedy = "Wait as long as Retry-After says, or free what is no longer needed."


class RateLimited(DomainError):
    """Too many requests in the last minute."""

    code = "rate_limited"
    status = 429
    retry_after = 60
    remedy = "Wait as long as Retry-After says, then go on more slowly."


class PackNotFound(DomainError):
    """There is no price pack, so nothing can be priced."""

    code = "pricing_pack_not_found"
    status = 500
    remedy = "Start Lemnos anew: the start builds the first price pack from the shipped prices."


class Unavailable(DomainError):
    """Something that this needs is away for now."""

    code = "unavailable"
    status = 503
    retry_after = 30
    permanent = False
    remedy = "Try again as late as Retry-After says."


class EgressRefused(Invalid):
    """This address may not be called from here."""

    code = "egress_refused"
    remedy = (
        "Give an https address on the public internet, or have an operator add its network to"
        " LEMNOS_EGRESS_ALLOW."
    )
    example = {"address": "127.0.0.1", "port": 443}


class EgressFailed(Unavailable):
    """The other side could not be reached or did not answer as it should."""

    code = "egress_failed"
    remedy = "See that the other side is up and its certificate valid, then try again."
    example = {"why": "connect"}


class WebhookKeyMissing(Unavailable):
    """This installation has no key that secrets of webhooks could be derived from."""

    code = "webhook_key_missing"
    remedy = "Set LEMNOS_WEBHOOK_KEY, the same on every host; script/server does."


class BackupFailed(DomainError):
    """The backup could not be made or restored."""

    code = "backup_failed"
    remedy = "The message has PostgreSQL's own words; correct what they name and try again."


class BackupToolMissing(BackupFailed):
    """PostgreSQL's own programs are not here."""

    code = "backup_tool_missing"
    remedy = "Install PostgreSQL's client programs of the server's version or a newer one."
    example = {"program": "pg_dump"}


class BackupDamaged(BackupFailed):
    """This backup is not what was written."""

    code = "backup_damaged"
    remedy = "Take another backup; look at the disk this one was kept on."
    example = {"file": "database.dump"}


class DatabaseNotEmpty(BackupFailed):
    """A backup is restored into an empty database only."""

    code = "database_not_empty"
    remedy = "Make a new database and point DATABASE_URL to it, or set a new LEMNOS_DATA_DIR."
    example = {"tables": 61}


class IsolationUnavailable(Unavailable):
    """No host here offers the isolation that this work needs."""

    code = "isolation_unavailable"
    retry_after = 60
    remedy = "Start a worker on a host with a container engine, then retry."
    example = {"needed": "container", "offered": "none"}


class KillSwitchOn(Unavailable):
    """The kill switch is on: nothing new starts."""

    code = "kill_switch_on"
    remedy = (
        "Wait until an operator allows new work again: in the admin on the team's page,"
        " below People, Teams."
    )


class ShuttingDown(Unavailable):
    """This process is shutting down."""

    code = "shutting_down"
    retry_after = 5
    remedy = "Send it again in a few seconds: another process, or this one anew, takes it."


class DiskLow(Unavailable):
    """There is too little room on the disk to run anything new."""

    code = "read_only"
    retry_after = 60
    remedy = "Free space in the data directory; work goes on by itself."


class ReadOnly(DiskLow):
    """The disk is nearly full: nothing is written until there is room again."""


class ReferenceInvalid(Invalid):
    """This is no reference: write {{inputs.name}}, {{state.name}} or {{ctx.name}}."""

    code = "reference_invalid"
    remedy = "Write one name in two braces, as shown, and nothing else."


class ConditionInvalid(Invalid):
    """This condition cannot be read."""

    code = "condition_invalid"
    remedy = "Compare references with and, or, not, in and the usual signs: {{state.total}} > 0."


class ConditionMissing(Invalid):
    """A condition asks for something that is not there."""

    code = "condition_missing"
    remedy = "Ask `… is null` first, or give a default: {{state.name | default(0)}}."


class ConditionTypeError(Invalid):
    """A condition compares what cannot be compared."""

    code = "condition_type_error"
    remedy = "Compare numbers with numbers and texts with texts."
