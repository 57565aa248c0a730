"""One row of everything in a team, and a body for each request that needs one."""

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework.test import APIClient

from guardian import hosts
from guardian import services as guardian
from guardian.authority import ROLE_SCOPES, Actor, service_actor
from guardian.models import ApiToken, Event, Team, WebhookDelivery
from memory import services as memory
from orchestrator import services as orchestrator
from orchestrator.models import AgentExecution
from phases import services as phases
from phases.models import BoardColumn, Phase, Task, Ticket, Workflow
from tests import factories
from tests.orchestrator.pattern_factories import make_run_row
from tools import services as tools
from tools.models import Tool
from tools.shipped import SHIPPED

ROLES = {"viewer": 1, "operator": 4, "author": 2, "admin": 5}


def client_of(actor: Actor) -> tuple[APIClient, ApiToken]:
    """A program with all scopes of its user's role."""
    token, text = guardian.create_token(
        actor=service_actor(actor.team) if actor.kind == "agent" else actor,
        user=actor.user,
        name="matrix",
        scopes=sorted(ROLE_SCOPES[actor.role]),
    )
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client, token


@dataclass
class World:
    """A team with its people and rows. `rows`: path in OpenAPI up to its parameter → value."""

    team: Team
    people: dict[str, Actor] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)
    fence: int = 0
    lock_fence: int = 0

    def address(self, path: str) -> str:
        """The path with the ids of this team's rows."""
        while "{" in path:
            head, rest = path.split("{", 1)
            value = self.rows[head]
            path = f"{head}{value}{rest.split('}', 1)[1]}"
        return path


def make_world(slug: str) -> World:
    """Everything an agent of this team can own is its own."""
    team = factories.make_team(slug)
    phases.seed_team(team=team)
    tools.seed_team(team=team)
    instances = orchestrator.seed_agents(team=team)
    hosts.announce(queues=["agents"], concurrency=8)
    made = World(team)
    for role, level in ROLES.items():
        made.people[role] = factories.make_actor(team, f"{slug}-{role}", role=role, authority=level)
    for name in ("agent", "other_agent"):
        made.people[name] = factories.make_actor(team, f"{slug}-{name}", role="agent", kind="agent")
    agent, lead = made.people["agent"], made.people["operator"]

    ticket = phases.open_ticket(actor=agent, title="A ship", workflow="software_development")
    task = phases.create_task(actor=agent, ticket=ticket, task_type="look", title="Look")
    [claim] = phases.claim_tasks(actor=agent, task_id=task.pk, capabilities=[], lease_seconds=600)
    made.fence = claim.task.fence
    artifact, _ = phases.add_artifact(
        actor=agent, ticket_id=ticket.pk, artifact_type="note", path="", content="x" * 20
    )
    found, _ = phases.record_discovery(
        actor=agent, source_task=task.pk, discovery_type="bug", description="It leaks"
    )
    Workflow.objects.filter(pk=ticket.workflow_id).update(has_result=True)
    result = phases.submit_result(actor=agent, ticket_id=ticket.pk, summary="It sails")
    pattern = orchestrator.register_pattern(
        text=json.dumps({**PATTERN, "id": f"{slug}-pattern"}), actor=made.people["admin"]
    )[0]
    made.rows |= {
        "/api/v1/tickets/": ticket.pk,
        "/api/v1/tasks/": task.pk,
        f"/api/v1/tasks/{task.pk}/reviews/": 1,
        f"/api/v1/tickets/{ticket.pk}/artifacts/": artifact.pk,
        f"/api/v1/tickets/{ticket.pk}/results/": result.pk,
        "/api/v1/discoveries/": found.pk,
        **_gate(ticket),
        "/api/v1/files/": tools.store_file(actor=agent, name="a.txt", content=slug.encode())[0].pk,
        "/api/v1/memory/records/": memory.store(actor=agent, text=f"Ships of {slug} sail").id,
        "/api/v1/patterns/": pattern.slug,
        "/api/v1/runs/": make_run_row(agent, pattern).pk,
        "/api/v1/runtime/instances/": instances[0].pk,
        "/api/v1/runtime/executions/": _execution(team, lead).pk,
        **_own_column(team),
        "/api/v1/board/auto-transition/": ticket.pk,
        "/api/v1/workflows/": Workflow.objects.get(team=team, key="default").pk,
        "/api/v1/events/": Event.objects.filter(team=team).latest("id").pk,
        "/api/v1/events/schedules/": guardian.create_schedule(
            actor=made.people["admin"], name="Nightly", kind="ship.seen", cron="0 3 * * *"
        ).pk,
        "/api/v1/tokens/": client_of(agent)[1].pk,
        "/api/v1/costs/budgets/": guardian.create_budget(
            actor=made.people["admin"],
            scope_type="team",
            limit=Decimal(1),
            period="custom",
            period_start=timezone.now() - timedelta(days=2),
            period_end=timezone.now() - timedelta(days=1),  # limits no claim of the matrix
        ).pk,
        **_webhook(made),
        "/api/v1/tools/": _own_tool(made.people["admin"]),
        "/api/v1/tools/executions/": _tool_execution(agent),
        **_locks(made, agent, lead),
    }
    return made


def _own_column(team: Team) -> dict[str, Any]:
    """A column and a phase of the default workflow whose keys no other team has."""
    flow = Workflow.objects.get(team=team, key="default")
    own: dict[str, Any] = {"team": team, "workflow": flow, "name": "Dock"}
    column = BoardColumn.objects.create(**own, key=f"{team.slug}-dock", position=90)
    key = f"PHASE_{re.sub('[^A-Z]', '_', team.slug.upper())}"
    Phase.objects.create(**own, column=column, key=key, sequence_order=90)
    return {"/api/v1/board/columns/": column.key, "/api/v1/board/column/": key}


def _gate(ticket: Ticket) -> dict[str, Any]:
    """The ticket's phase, and what its gate asks for."""
    phase = ticket.phase
    address = f"/api/v1/phases/{phase.pk}/gate-requirements/"
    first = phase.requirements.order_by("created_at", "id").first()
    assert first is not None
    return {"/api/v1/phases/": phase.pk, address: first.pk}


def _locks(made: World, agent: Actor, lead: Actor) -> dict[str, Any]:
    """A lock of the agent's, and its place in the line for one of the operator's."""
    held = guardian.acquire_lock(actor=agent, resource_type="dock", resource_id="1")
    guardian.acquire_lock(actor=lead, resource_type="dock", resource_id="2")
    waits = guardian.acquire_lock(actor=agent, resource_type="dock", resource_id="2")
    made.lock_fence = held.fence
    return {"/api/v1/locks/": held.lock_id, "/api/v1/locks/requests/": waits.pk}


def _execution(team: Team, lead: Actor) -> AgentExecution:
    phases.open_ticket(
        actor=lead, title="Look", workflow="repo_checkup", context={"source": {"kind": "self"}}
    )
    orchestrator.dispatch(team_id=team.pk)
    return AgentExecution.objects.get(team=team)


def _webhook(made: World) -> dict[str, Any]:
    webhook, _ = guardian.create_webhook(
        actor=made.people["admin"], name="ci", url="https://hooks.example.com/", kinds=["a.*"]
    )
    event = guardian.send_test_event(actor=made.people["admin"], webhook_id=webhook.pk)
    guardian.queue_webhook_deliveries(event=event)
    delivery = WebhookDelivery.objects.get(webhook=webhook)
    return {"/api/v1/webhooks/": webhook.pk, "/api/v1/webhooks/deliveries/": delivery.pk}


def _own_tool(admin: Actor) -> UUID:
    """What a shipped tool does, brought in by this team for itself."""
    facts = next(facts for facts in SHIPPED if facts["name"] == "count_lines")
    named = {**facts, "name": f"{admin.team.slug}_lines", "handler": {"callable": "count_lines"}}
    tool = Tool.objects.create(team=admin.team, handler_kind="python", **named)
    return tools.approve_tool(actor=admin, tool_id=tool.pk, reason="for the matrix").pk


def _tool_execution(agent: Actor) -> UUID:
    return tools.request_execution(
        tool=Tool.objects.get(name="count_lines"), actor=agent, input={"text": "a"}, context={}
    ).pk


def bodies(made: World) -> dict[str, Any]:
    """`method path` → a body that is right in itself."""
    ticket, fence = str(made.rows["/api/v1/tickets/"]), made.fence
    why = {"reason": "because the matrix asks"}
    task = Task.objects.get(pk=made.rows["/api/v1/tasks/"])
    return {
        "post /api/v1/tickets": {"title": "Another ship"},
        "patch /api/v1/tickets/{id}": {"title": "The same ship"},
        "post /api/v1/tickets/{id}/cancel": why,
        "post /api/v1/tickets/{id}/fail": why,
        "post /api/v1/tickets/{id}/approve": why,
        "post /api/v1/tickets/{id}/reject": why,
        "post /api/v1/tickets/{id}/resubmit": why,
        "post /api/v1/tickets/{id}/reopen": why,
        "post /api/v1/discoveries": {"source_task": str(task.pk), "discovery_type": "bug",
                                     "description": "It leaks once more"},
        "post /api/v1/discoveries/{id}/branch": {"spawn": [{"task_type": "fix", "title": "Plug"}]},
        "post /api/v1/discoveries/{id}/resolve": {"status": "resolved"},
        "post /api/v1/phases/{phase}/gate-requirements": {
            "key": "read_by_many", "kind": "review", "parameters": {"count": 2}
        },
        "patch /api/v1/phases/{phase}/gate-requirements/{id}": {"required": False},
        "post /api/v1/tickets/{id}/results": {"summary": "It is the stern"},
        "post /api/v1/tickets/{id}/results/{result_id}/decide": {"verdict": "rejected", **why},
        "post /api/v1/tickets/{id}/transition": {"to_phase": "PHASE_REQUIREMENTS"},
        "post /api/v1/tickets/{id}/artifacts": {"artifact_type": "other", "content": "y" * 20},
        "post /api/v1/tickets/{id}/artifacts/{artifact_id}/verify": {"verdict": "confirm"},
        "post /api/v1/tasks": {"ticket_id": ticket, "task_type": "look", "title": "Once more"},
        "post /api/v1/tasks/batch": {"tasks": [{"ticket_id": ticket, "task_type": "look",
                                                "title": "Once more"}]},
        "post /api/v1/tasks/{id}/dependencies": {"depends_on": str(task.pk)},
        "delete /api/v1/tasks/{id}/dependencies": {"depends_on": str(task.pk)},
        "post /api/v1/tasks/{id}/check-circular": {"depends_on": str(task.pk)},
        "post /api/v1/tasks/{id}/cancel": why,
        "post /api/v1/tasks/{id}/retry": why,
        "post /api/v1/tasks/{id}/reviews/{iteration}/verdict": {"passed": True},
        "post /api/v1/tasks/{id}/set-timeout": {"timeout_seconds": 60},
        "post /api/v1/tasks/{id}/decide": {"decision": "completed", **why},
        "post /api/v1/tasks/{id}/heartbeat": {"fence": fence},
        "post /api/v1/tasks/{id}/complete": {"fence": fence, "result": {"summary": "done"}},
        "post /api/v1/tasks/{id}/fail": {"fence": fence, "error": {"code": "x", "message": "y"}},
        "post /api/v1/tasks/{id}/release": {"fence": fence, **why},
        "post /api/v1/board/move": {"ticket_id": ticket, "column": task.ticket.column.key,
                                    "version": task.ticket.version},
        "post /api/v1/board/bulk-move": {"moves": [{"ticket_id": ticket, "version": 1,
                                                    "column": task.ticket.column.key}]},
        "patch /api/v1/board/columns/{key}": {"name": "Renamed"},
        "patch /api/v1/phases/{id}": {"name": "Renamed"},
        "post /api/v1/workflows/import": {"yaml": FLOW},
        "post /api/v1/costs/budgets": {"scope_type": "team", "period": "day", "limit": "5"},
        "patch /api/v1/costs/budgets/{id}": {"limit": "2000000"},
        "post /api/v1/events/publish": {"type": "ship.seen", "payload": {"n": 1}},
        "post /api/v1/events/alerts/blackscreen": {"device_id": "d-1"},
        "post /api/v1/events/alerts/device-offline": {"device_id": "d-1"},
        "post /api/v1/events/builds/deployed": {"version": "1", "userinterface": "web"},
        "post /api/v1/events/{id}/replay": why,
        "post /api/v1/locks/acquire": {"resource_type": "dock", "resource_id": "3"},
        "post /api/v1/locks/verify": {"resource_type": "dock", "resource_id": "1",
                                      "fence": made.lock_fence},
        "post /api/v1/locks/release-all": {"holder_id": str(made.people["agent"].id), **why},
        "post /api/v1/locks/{id}/renew": {"fence": made.lock_fence},
        "post /api/v1/locks/{id}/release": {"fence": made.lock_fence},
        "post /api/v1/locks/{id}/break": why,
        "post /api/v1/events/schedules": SCHEDULE,
        "put /api/v1/events/schedules/{id}": SCHEDULE,
        "patch /api/v1/events/schedules/{id}": {"enabled": False},
        "post /api/v1/events/schedules/{id}/run-now": why,
        "post /api/v1/tokens": {"name": "mine", "scopes": ["tickets:read"]},
        "post /api/v1/tokens/{id}/revoke": why,
        "post /api/v1/memory/store": {"text": "A harbour has ships"},
        "post /api/v1/memory/search": {"query": "ships", "mode": "keyword"},
        "post /api/v1/patterns": PATTERN,
        "post /api/v1/patterns/validate": PATTERN,
        "post /api/v1/runs/{id}/cancel": why,
        "post /api/v1/tools/{id}/execute": {"input": {"text": "a"}, "wait": 0},
        "post /api/v1/tools/executions/{id}/cancel": why,
        "post /api/v1/webhooks": {"name": "new", "url": "https://a.example.com/", "kinds": ["*"]},
        "patch /api/v1/webhooks/{id}": {"name": "renamed"},
        "post /api/v1/webhooks/{id}/test": why,
        "post /api/v1/webhooks/{id}/rotate-secret": why,
        "post /api/v1/webhooks/deliveries/{id}/redeliver": why,
    }  # fmt: skip


SCHEDULE = {"name": "Hourly", "kind": "ship.seen", "cron": "0 * * * *"}
PATTERN = {
    "id": "matrix",
    "name": "Matrix",
    "inputs": {"source": {"type": "object", "default": {}}},
    "steps": [
        {
            "id": "open", "agent": "workshop", "capability": "repo.open",
            "args": {"source": "{{inputs.source}}"},
        }
    ],
}  # fmt: skip
FLOW = """\
format: 1
key: matrix
name: Matrix
initial_phase: PHASE_WORK
phases:
  - {id: PHASE_WORK, sequence_order: 0, name: Work, allowed_transitions: [PHASE_DONE]}
  - {id: PHASE_DONE, sequence_order: 1, name: Done, kind: done}
board_columns:
  - {id: all, name: All, sequence_order: 0, phase_mapping: [PHASE_WORK, PHASE_DONE]}
"""
QUERIES = {
    "get /api/v1/locks/status": lambda _: {"resource_type": "dock", "resource_id": "1"},
    "get /api/v1/costs/budgets/check": lambda _: {"scope_type": "team"},
    "get /api/v1/board/cards": lambda made: {
        "workflow": "software_development",
        "column": "backlog",
        "after": str(made.rows["/api/v1/tickets/"]),
    },
}


def past(token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(days=1))
