"""May this actor use this tool? The list of T-2, first match ends."""

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from guardian.authority import Actor, require_scope
from guardian.errors import KillSwitchOn
from guardian.services import kill_switch_is_on
from tools.errors import ToolDenied, ToolNotActive, ToolNotFound, ToolQuarantined
from tools.models import Tool, ToolPermission
from tools.models.permission import LEVELS

SCOPE_OF = {
    "read": "tools:read",
    "write": "tools:execute",
    "execute": "tools:execute",
    "admin": "tools:publish",
    "owner": "tools:publish",
}


@dataclass(frozen=True)
class Decision:
    """The answer with its reason; constraints only lower the tool's limits."""

    allowed: bool
    code: str
    reason: str
    matched: list[str] = field(default_factory=list)
    constraints: dict[str, Any] = field(default_factory=dict)


def matching_permissions(actor: Actor, tool: Tool) -> list[ToolPermission]:
    """Rows of the actor's team for this tool that name the actor and have not expired."""
    kind = "agent" if actor.kind == "agent" else "user"
    who = (
        Q(principal_type=kind, principal_id__in=["", str(actor.id)])
        | Q(principal_type="role", principal_id=actor.role)
        | Q(principal_type="team")
    )
    rows = ToolPermission.objects.for_team(actor.team_id).filter(who, tool=tool)
    return list(rows.filter(Q(expires_at=None) | Q(expires_at__gt=Now())))


def decide(*, actor: Actor, tool: Tool, need: str = "execute") -> Decision:
    """Allow or deny with a code; a foreign tool and a missing scope raise instead.

    Raises ToolNotFound, ScopeMissing, KillSwitchOn.
    """
    if tool.team_id not in (None, actor.team_id):
        raise ToolNotFound
    require_scope(actor, SCOPE_OF[need])
    if need == "execute" and tool.status != Tool.Status.ACTIVE:
        return _no(f"tool_{tool.status}", f"The tool is {tool.status}.")
    if need == "execute" and kill_switch_is_on(team=actor.team):
        raise KillSwitchOn
    return _by_rows(actor, tool, need, matching_permissions(actor, tool))


def _by_rows(actor: Actor, tool: Tool, need: str, rows: list[ToolPermission]) -> Decision:
    """Denials first, also for the creator; then ownership, grants, harmlessness."""
    rank = LEVELS.index(need)
    for row in rows:
        if row.effect == "deny" and LEVELS.index(row.level) <= rank:
            return _no("explicit_deny", "A permission row denies this.", [str(row.pk)])
    constraints = _strictest(tool, rows)
    if tool.created_by_id == actor.id:
        return _yes("owner", constraints)
    if actor.authority >= 4:
        return _yes("team_admin", constraints)
    allows = [row for row in rows if row.effect == "allow"]
    matched = [str(row.pk) for row in allows if LEVELS.index(row.level) >= rank]
    if matched:
        return _yes("granted", constraints, matched)
    harmless = tool.security_level in {"safe", "low_risk"}
    if need == "read" or (need == "execute" and harmless):
        return _yes("open", constraints)
    return _no("explicit_permission_required", f"`{need}` on this tool must be granted.")


def _yes(code: str, constraints: dict[str, Any], matched: list[str] | None = None) -> Decision:
    return Decision(
        allowed=True, code=code, reason="", matched=matched or [], constraints=constraints
    )


def _no(code: str, reason: str, matched: list[str] | None = None) -> Decision:
    return Decision(allowed=False, code=code, reason=reason, matched=matched or [])


def _strictest(tool: Tool, rows: list[ToolPermission]) -> dict[str, Any]:
    seconds = [tool.max_execution_seconds]
    seconds += [r.max_execution_seconds for r in rows if r.max_execution_seconds is not None]
    return {"max_execution_seconds": min(seconds), "requires_approval": tool.requires_approval}


def require(*, actor: Actor, tool: Tool, need: str = "execute") -> Decision:
    """The decision if it allows. Raises ToolDenied, ToolNotActive, ToolQuarantined."""
    decision = decide(actor=actor, tool=tool, need=need)
    if decision.allowed:
        return decision
    if decision.code == "tool_quarantined":
        raise ToolQuarantined(tool=tool.name)
    if decision.code.startswith("tool_"):
        raise ToolNotActive(decision.reason, tool=tool.name, tool_status=tool.status)
    raise ToolDenied(decision.reason, tool=tool.name, reason=decision.code)
