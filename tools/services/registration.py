"""Bring the shipped tools in, approve them as shipped, quarantine what drifted."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max

from guardian.models import Team, User
from guardian.outbox import emit
from tools import events, passport
from tools.models import Tool, ToolPermission, ToolVersion
from tools.shipped import SHIPPED

GRANTED_ROLES = ("operator", "author", "admin")


def _serialise_seeding() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('tools.seed', 0))")


@transaction.atomic
def seed_shipped_tools() -> list[Tool]:
    """Create or update the global built-in tools; each is approved as shipped. Idempotent."""
    _serialise_seeding()
    known = {
        tool.name: tool
        for tool in Tool.objects.filter(
            team=None, version="1.0.0", name__in=[facts["name"] for facts in SHIPPED]
        )
    }
    approved = dict(
        ToolVersion.objects.filter(tool__in=known.values(), status="approved").values_list(
            "tool_id", "passport_hash"
        )
    )
    return [_seed_tool(facts, known.get(facts["name"]), approved) for facts in SHIPPED]


def _seed_tool(facts: dict[str, Any], tool: Tool | None, approved: dict[UUID, str]) -> Tool:
    values = {**facts, "handler_kind": "python", "handler": {"callable": facts["name"]}}
    name = values.pop("name")
    if tool is None:
        tool = Tool(name=name, **values)
        tool.save(force_insert=True)
        emit(events.TOOL_REGISTERED, subject=tool, name=name, revision=1)
    elif any(getattr(tool, field) != value for field, value in values.items()):
        for field, value in values.items():
            setattr(tool, field, value)
        tool.save(update_fields=[*values, "updated_at"])
    elif approved.get(tool.pk) == passport.hash_of(passport.snapshot(tool)):
        return tool
    _approve_as_shipped(tool)
    return Tool.objects.get(pk=tool.pk)


def _approve_as_shipped(tool: Tool) -> None:
    facts = passport.snapshot(tool)
    digest = passport.hash_of(facts)
    current = tool.versions.select_for_update().filter(status="approved").first()
    if current is not None and current.passport_hash == digest:
        return
    if current is not None:
        current.supersede()
        current.save(update_fields=["status", "updated_at"])
    newest = tool.versions.aggregate(newest=Max("revision"))["newest"] or 0
    version = ToolVersion.objects.create(
        tool=tool, revision=newest + 1, snapshot=facts, passport_hash=digest
    )
    version.approve()
    version.approval_kind = ToolVersion.ApprovalKind.SHIPPED
    version.save(update_fields=["status", "approval_kind", "updated_at"])
    if tool.status in {Tool.Status.DRAFT, Tool.Status.QUARANTINED}:
        tool.activate()
        tool.save(update_fields=["status", "updated_at"])
    emit(
        events.TOOL_APPROVED,
        subject=tool,
        name=tool.name,
        revision=version.revision,
        approval_kind="shipped",
    )


@transaction.atomic
def seed_team(*, team: Team, agents: Iterable[User] = ()) -> None:
    """Grant `execute` on the shipped medium tools to the working roles and given agents.

    Idempotent; a row an admin changed stays as it is.
    """
    tools = [tool for tool in seed_shipped_tools() if tool.security_level == "medium_risk"]
    principals = [("role", role) for role in GRANTED_ROLES]
    principals += [("agent", str(agent.pk)) for agent in agents]
    ToolPermission.objects.bulk_create(
        (
            ToolPermission(
                team=team, tool=tool, principal_type=kind, principal_id=who, level="execute"
            )
            for tool in tools
            for kind, who in principals
        ),
        ignore_conflicts=True,
    )


@transaction.atomic
def quarantine_tool(*, tool: Tool, version: ToolVersion, diff: dict[str, list[Any]]) -> None:
    """Stop a tool that is no longer what was approved; pending runs will be refused."""
    tool = Tool.objects.select_for_update().get(pk=tool.pk)
    version = ToolVersion.objects.select_for_update().get(pk=version.pk)
    if version.status == ToolVersion.Status.APPROVED:
        version.quarantine()
        version.save(update_fields=["status", "updated_at"])
    if tool.status not in {Tool.Status.QUARANTINED, Tool.Status.ARCHIVED}:
        tool.quarantine()
        tool.save(update_fields=["status", "updated_at"])
    emit(
        events.TOOL_QUARANTINED,
        subject=tool,
        priority="high",
        name=tool.name,
        revision=version.revision,
        diff={key: [str(value)[:500] for value in pair] for key, pair in diff.items()},
    )
