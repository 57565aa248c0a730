"""Claims are answered here: phases gives the task, the siblings add what they know."""

from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from guardian.http import actor_of, validated
from memory import services as memory
from orchestrator.serializers import Claim, ClaimOne, Complete, Fail, Heartbeat, Release
from orchestrator.services import attempt_id
from phases import services as phases

RETRY_AFTER_SECONDS = 5


def _claimed(claim: Any, lease_seconds: int, context: dict[str, Any]) -> dict[str, Any]:
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
        "memory": context,
        "feedback": None,
    }


class ClaimView(APIView):
    """Take work: an empty list means there is none now."""

    scopes = {"post": "tasks:work"}

    @extend_schema(request=Claim, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request) -> Response:
        actor = actor_of(request)
        body = validated(Claim, request.data)
        body.setdefault("capabilities", [])
        claims = phases.claim_tasks(actor=actor, **body)
        return Response(
            {
                "tasks": [_answer(claim, body["lease_seconds"]) for claim in claims],
                "retry_after_seconds": RETRY_AFTER_SECONDS,
            }
        )


class ClaimOneView(APIView):
    """Take this one task."""

    scopes = {"post": "tasks:work"}

    @extend_schema(request=ClaimOne, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, pk: UUID) -> Response:
        body = validated(ClaimOne, request.data)
        body.setdefault("capabilities", [])
        claims = phases.claim_tasks(actor=actor_of(request), task_id=pk, **body)
        return Response({"tasks": [_answer(claim, body["lease_seconds"]) for claim in claims]})


def _answer(claim: Any, lease_seconds: int) -> dict[str, Any]:
    task = claim.task
    context = memory.task_context(
        team_id=task.team_id,
        task_type=task.task_type,
        title=task.title,
        description=task.description,
    )
    # Shown from here on, so a later revocation can name this run.
    memory.record_uses(
        team_id=task.team_id,
        run_id=attempt_id(task_id=task.pk, fence=task.fence),
        task_id=task.pk,
        record_ids=[UUID(str(hit["id"])) for hit in context["similar"] + context["cautions"]],
    )
    return _claimed(claim, lease_seconds, context)


class HeartbeatView(APIView):
    """I am still at it."""

    scopes = {"post": "tasks:work"}

    @extend_schema(request=Heartbeat, responses=OpenApiTypes.OBJECT)
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


class CompleteView(APIView):
    """It is done."""

    scopes = {"post": "tasks:work"}

    @extend_schema(request=Complete, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, pk: UUID) -> Response:
        task, unblocked = phases.complete_task(
            actor=actor_of(request), task_id=pk, **validated(Complete, request.data)
        )
        return Response({"status": task.status, "unblocked": [str(u) for u in unblocked]})


class FailView(APIView):
    """It went wrong."""

    scopes = {"post": "tasks:work"}

    @extend_schema(request=Fail, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, pk: UUID) -> Response:
        body = validated(Fail, request.data)
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


class ReleaseView(APIView):
    """Somebody else may have it."""

    scopes = {"post": "tasks:work"}

    @extend_schema(request=Release, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, pk: UUID) -> Response:
        task = phases.release_task(
            actor=actor_of(request), task_id=pk, **validated(Release, request.data)
        )
        return Response({"status": task.status})
