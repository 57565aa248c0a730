"""Who answers for a tool: approving it as it is now, or taking it out of use."""

from uuid import UUID

from django.db import transaction
from django.db.models import Max
from django_fsm import can_proceed

from guardian.authority import SYSTEM, Actor, require_level, require_scope
from guardian.errors import Forbidden, IllegalTransition
from guardian.outbox import emit
from tools import events, passport
from tools.errors import SelfApproval, ToolNotFound
from tools.models import Tool, ToolVersion


def _locked(actor: Actor, tool_id: UUID) -> Tool:
    """A tool of the team; one that serves every team needs level 5."""
    tool = Tool.objects.select_for_update().visible_to(actor.team_id).filter(pk=tool_id).first()
    if tool is None:
        raise ToolNotFound
    if tool.team_id is None:
        require_level(actor, SYSTEM)
    return tool


@transaction.atomic
def approve_tool(*, actor: Actor, tool_id: UUID, reason: str) -> Tool:
    """A person answers for what would run now: its revision is approved, the tool is active.

    Raises ToolNotFound, ScopeMissing, AuthorityTooLow, Forbidden, SelfApproval, IllegalTransition.
    """
    require_scope(actor, "tools:approve")
    if not actor.is_human:
        raise Forbidden("Only a person may decide this.")
    tool = _locked(actor, tool_id)
    if tool.status not in {Tool.Status.DRAFT, Tool.Status.ACTIVE, Tool.Status.QUARANTINED}:
        raise IllegalTransition(f"This tool is {tool.status}.", allowed=["draft", "quarantined"])
    version = _revision_of_now(tool)
    if version.status == ToolVersion.Status.APPROVED:
        raise IllegalTransition("What would run is what was approved.", allowed=[])
    if version.author_id == actor.id:
        raise SelfApproval
    for former in tool.versions.filter(status__in=["approved", "quarantined"]).exclude(
        pk=version.pk
    ):
        former.supersede()
        former.save(update_fields=["status", "updated_at"])
    version.approve()
    version.approver, version.note = actor.user, reason
    version.approval_kind = ToolVersion.ApprovalKind.SECOND_PERSON
    version.save(update_fields=["status", "approver", "note", "approval_kind", "updated_at"])
    if tool.status != Tool.Status.ACTIVE:
        tool.activate()
        tool.save(update_fields=["status", "updated_at"])
    emit(
        events.TOOL_APPROVED,
        subject=tool,
        actor=actor,
        reason=reason,
        name=tool.name,
        revision=version.revision,
        approval_kind=version.approval_kind,
    )
    return tool


def _revision_of_now(tool: Tool) -> ToolVersion:
    """The revision whose hash is that of the row, code and image now; made if there is none."""
    facts = passport.snapshot(tool)
    digest = passport.hash_of(facts)
    known = tool.versions.select_for_update().filter(
        passport_hash=digest, status__in=["approved", "proposed", "quarantined"]
    )
    found: ToolVersion | None = known.order_by("-revision").first()
    if found is not None:
        return found
    newest = tool.versions.aggregate(newest=Max("revision"))["newest"] or 0
    made: ToolVersion = ToolVersion.objects.create(
        tool=tool, revision=newest + 1, snapshot=facts, passport_hash=digest
    )
    return made


@transaction.atomic
def withdraw_tool(*, actor: Actor, tool_id: UUID, reason: str) -> Tool:
    """Quarantine a tool by hand: nothing runs it until somebody approves it again.

    Raises ToolNotFound, ScopeMissing, AuthorityTooLow, IllegalTransition.
    """
    require_scope(actor, "tools:approve")
    tool = _locked(actor, tool_id)
    if tool.status in {Tool.Status.QUARANTINED, Tool.Status.ARCHIVED}:
        raise IllegalTransition(f"This tool is {tool.status} already.", allowed=[])
    approved = tool.versions.select_for_update().filter(status="approved").first()
    if approved is not None:
        approved.quarantine()
        approved.save(update_fields=["status", "updated_at"])
    tool.quarantine()
    tool.save(update_fields=["status", "updated_at"])
    emit(
        events.TOOL_QUARANTINED,
        subject=tool,
        actor=actor,
        reason=reason,
        priority="high",
        name=tool.name,
        revision=approved.revision if approved else None,
        diff={},
    )
    return tool


@transaction.atomic
def switch_tool(*, actor: Actor, tool_id: UUID, on: bool, reason: str) -> Tool:
    """Let a tool rest, or be used again; its approval stays.

    Raises ToolNotFound, ScopeMissing, AuthorityTooLow, IllegalTransition.
    """
    require_scope(actor, "tools:publish")
    tool = _locked(actor, tool_id)
    change = tool.switch_on if on else tool.switch_off
    if not can_proceed(change):
        raise IllegalTransition(f"This tool is {tool.status}.", allowed=[])
    change()
    tool.save(update_fields=["status", "updated_at"])
    if on:
        emit(events.TOOL_SWITCHED_ON, subject=tool, actor=actor, reason=reason, name=tool.name)
    else:
        emit(events.TOOL_SWITCHED_OFF, subject=tool, actor=actor, reason=reason, name=tool.name)
    return tool
