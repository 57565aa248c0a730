"""Claims are answered here: phases gives the task, the siblings add what they know."""

from typing import Any
from uuid import UUID

import structlog
from django.db.models import F
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.authority import Actor
from guardian.http import TeamView, actor_of, once, validated
from memory import services as memory
from orchestrator.answers import (
    ClaimAnswer,
    CompleteAnswer,
    FailAnswer,
    HeartbeatAnswer,
    ReleaseAnswer,
)
from orchestrator.serializers import Claim, ClaimOne, Complete, Fail, Heartbeat, Release
from orchestrator.services import attempt_id
from phases import services as phases
from phases.models import Task

RETRY_AFTER_SECONDS = 5
NO_MEMORY: dict[str, list[str]] = {
    "similar": [],
    "cautions": [],
    "patterns": [],
    "recommendations": [],
}
MEMORY_UNAVAILABLE = "memory_unavailable"

log = structlog.get_logger(__name__)


def _claimed(claim: Any, lease_seconds: int, actor: Actor) -> dict[str, Any]:
    task = claim.task
    phase = task.phase
    return {
        "id": str(task.pk),
        "status": task.status,
        "ticket": {
            "id": str(task.ticket_id),
            "number": task.ticket.number,
            "title": task.ticket.title,
            "phase": task.ticket.phase.key,
        },
        "task_type": task.task_type,
        "title": task.title,
        "description": task.description,
        "priority": task.get_priority_display().upper(),
        "score": round(claim.score, 4),
        "lease": {"token": task.fence, "expires_at": task.lease_expires_at},
        "heartbeat_every_seconds": max(1, lease_seconds // 3),
        "prompt": {
            "phase_prompt": phase.phase_prompt,
            "done_definitions": phase.done_definitions,
            "expected_outputs": phase.expected_outputs,
            "next_steps_guide": phase.next_steps_guide,
        },
        "context": task.ticket.context,
        "context_summary": task.ticket.context_summary,
        "locks": [
            {
                "resource_type": lock.resource_type,
                "resource_id": lock.resource_id,
                "token": lock.fence,
            }
            for lock in claim.locks
        ],
        "dependencies": phases.results_before(task=task),
        "budget_left": phases.budget_left(actor=actor, task=task),
        "feedback": phases.feedback_of(task=task),
        "handoff": task.handoff or None,
    }


class ClaimView(TeamView):
    """Claim work: an empty list means there is none now."""

    scopes = {"post": "tasks:work"}
    own_once = frozenset({"post"})

    @extend_schema(request=Claim, responses=ClaimAnswer)
    def post(self, request: Request) -> Response:
        actor = actor_of(request)
        body = validated(Claim, request.data)
        body.setdefault("capabilities", [])
        phases.require_phase(team_id=actor.team_id, key=body.get("phase"), path="phase")

        def claim() -> Response:
            claims = phases.claim_tasks(actor=actor, **body)
            return Response(
                {
                    "tasks": [_claimed(claim, body["lease_seconds"], actor) for claim in claims],
                    "retry_after_seconds": RETRY_AFTER_SECONDS,
                }
            )

        answer = once(self, request, claim)
        return _remembering(actor.team_id, answer, answer.data)


class ClaimOneView(TeamView):
    """Claim this one task."""

    scopes = {"post": "tasks:work"}
    own_once = frozenset({"post"})

    @extend_schema(request=ClaimOne, responses=ClaimAnswer)
    def post(self, request: Request, pk: UUID) -> Response:
        body = validated(ClaimOne, request.data)
        body.setdefault("capabilities", [])
        actor = actor_of(request)

        def claim() -> Response:
            claims = phases.claim_tasks(actor=actor, task_id=pk, **body)
            return Response(
                {"tasks": [_claimed(claim, body["lease_seconds"], actor) for claim in claims]}
            )

        answer = once(self, request, claim)
        return _remembering(actor.team_id, answer, answer.data)


def _remembering(team_id: UUID, answer: Response, claims: dict[str, Any]) -> Response:
    """The answer with what memory knows: asked after the claim's transaction, for it may wait.

    The claim stands by then. Whatever fails here, its holder must hear of it: a lost answer is a
    lost lease, and three of them fail the task.
    """
    if answer.status_code >= 400:
        return answer
    for task in claims["tasks"]:
        try:
            task["memory"] = _memory_of(team_id, task)
        except Exception as error:
            log.exception("claim_without_memory", task_id=task["id"], error=type(error).__name__)
            task["memory"] = {**NO_MEMORY, "warnings": [MEMORY_UNAVAILABLE]}
    return answer


def _memory_of(team_id: UUID, task: dict[str, Any]) -> dict[str, list[Any]]:
    found = memory.task_context(
        team_id=team_id,
        task_type=task["task_type"],
        title=task["title"],
        description=task["description"],
        # What this very ticket was about before it restarted is no past work to learn from.
        apart_from_tasks=_of_before(UUID(task["ticket"]["id"])),
    )
    # Shown from here on, so a later revocation can name this run; what cannot be noted is not
    # shown either.
    memory.record_uses(
        team_id=team_id,
        run_id=attempt_id(task_id=UUID(task["id"]), fence=task["lease"]["token"]),
        task_id=UUID(task["id"]),
        record_ids=[UUID(str(hit["id"])) for hit in found["similar"] + found["cautions"]],
    )
    return found


def _of_before(ticket_id: UUID) -> list[UUID]:
    older = Task.objects.filter(ticket_id=ticket_id, visit__lt=F("ticket__fresh_from_visit"))
    return list(older.values_list("pk", flat=True))


class HeartbeatView(TeamView):
    """Extend the lease of a task: its holder is still at it."""

    scopes = {"post": "tasks:work"}

    @extend_schema(request=Heartbeat, responses=HeartbeatAnswer)
    def post(self, request: Request, pk: UUID) -> Response:
        beat = phases.extend_lease(
            actor=actor_of(request), task_id=pk, **validated(Heartbeat, request.data)
        )
        cancel = None
        if beat.cancel_reason is not None:
            cancel = {"reason": beat.cancel_reason, "deadline": beat.task.cancel_deadline}
        return Response(
            {
                "status": beat.task.status,
                "lease": {"token": beat.task.fence, "expires_at": beat.task.lease_expires_at},
                "cancel": cancel,
            }
        )


class CompleteView(TeamView):
    """Complete a task; with `claim_next`, the next one comes with the answer.

    `next` is as a claim's answer; its `refused` {code, detail} says why there is none, for the
    completion stands whatever becomes of the claim.
    """

    scopes = {"post": "tasks:work"}
    own_once = frozenset({"post"})

    @extend_schema(request=Complete, responses=CompleteAnswer)
    def post(self, request: Request, pk: UUID) -> Response:
        body = validated(Complete, request.data)
        actor = actor_of(request)
        want = body.pop("claim_next", None)
        asked = (want or {}).get("phase")
        phases.require_phase(team_id=actor.team_id, key=asked, path="claim_next.phase")

        def complete() -> Response:
            done = phases.complete_task(actor=actor, task_id=pk, **body)
            return Response({"status": done.status, "unblocked": [str(u) for u in done.unblocked]})

        def complete_and_claim() -> Response:
            over = phases.complete_and_claim(actor=actor, task_id=pk, **body, **want)
            refused = over.refused
            return Response(
                {
                    "status": over.status,
                    "unblocked": [str(u) for u in over.unblocked],
                    "next": {
                        "tasks": [
                            _claimed(claim, want["lease_seconds"], actor) for claim in over.claimed
                        ],
                        "retry_after_seconds": RETRY_AFTER_SECONDS,
                        "refused": refused and {"code": refused.code, "detail": refused.detail},
                    },
                }
            )

        if want is None:
            return once(self, request, complete)
        answer = once(self, request, complete_and_claim)
        return _remembering(actor.team_id, answer, answer.data.get("next", {}))


class FailView(TeamView):
    """Say that a task went wrong; it is tried again where that may help."""

    scopes = {"post": "tasks:work"}
    own_once = frozenset({"post"})

    @extend_schema(request=Fail, responses=FailAnswer)
    def post(self, request: Request, pk: UUID) -> Response:
        body = validated(Fail, request.data)
        return once(self, request, lambda: self._fail(request, pk, body))

    def _fail(self, request: Request, pk: UUID, body: dict[str, Any]) -> Response:
        task = phases.fail_task(
            actor=actor_of(request), task_id=pk, fence=body["fence"], **body["error"]
        )
        failed = task.status == "failed"
        retry = {
            "count": task.retry_count,
            "max": task.max_retries,
            "not_before": task.not_before,
        }
        return Response(
            {
                "status": task.status,
                "permanent": failed,
                "retry": retry if task.status == "pending" else None,
            }
        )


class ReleaseView(TeamView):
    """Give a task back: somebody else may have it."""

    scopes = {"post": "tasks:work"}
    own_once = frozenset({"post"})

    @extend_schema(request=Release, responses=ReleaseAnswer)
    def post(self, request: Request, pk: UUID) -> Response:
        body = validated(Release, request.data)

        def release() -> Response:
            task = phases.release_task(actor=actor_of(request), task_id=pk, **body)
            return Response({"status": task.status})

        return once(self, request, release)
