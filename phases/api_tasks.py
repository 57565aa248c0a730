"""The REST API of tasks: made, waited for, reviewed, called off."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors
from guardian.http import TeamViewSet, validated
from phases import services
from phases.models import Review, Task, Ticket
from phases.serializers import Reason
from phases.serializers_tasks import (
    CancelTask,
    DecideReview,
    GiveVerdict,
    ReviewSerializer,
    TaskCreate,
    TaskSerializer,
    VerdictAnswer,
)


class TaskViewSet(TeamViewSet):
    """Tasks, as rows; claiming and finishing them is answered by the orchestrator."""

    queryset = Task.objects.select_related("phase", "holder", "last_holder")
    serializer_class = TaskSerializer
    scopes = {
        "list": "tickets:read",
        "retrieve": "tickets:read",
        "create": "tickets:write",
        "cancel": "tickets:write",
        "retry": "tickets:write",
        "reviews": "tickets:read",
        "start_review": "approvals:decide",
        "verdict": "approvals:decide",
        "decide": "approvals:decide",
    }
    filters = {
        "status": "status",
        "phase": "phase__key",
        "ticket": "ticket_id",
        "holder": "holder_id",
    }

    @extend_schema(request=TaskCreate, responses={201: TaskSerializer})
    def create(self, request: Request) -> Response:
        """Add a task to a ticket."""
        body: dict[str, Any] = validated(TaskCreate, request.data)
        ticket = (
            Ticket.objects.select_related("phase", "team")
            .filter(pk=body.pop("ticket_id"), team=self.actor.team)
            .first()
        )
        if ticket is None:
            raise errors.NotFound("There is no such ticket.")
        task = services.create_task(actor=self.actor, ticket=ticket, **body)
        return Response(TaskSerializer(task).data, status=201)

    @extend_schema(request=CancelTask, responses=TaskSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: UUID) -> Response:
        """Call a task off; a running one hears of it with its next heartbeat."""
        task = services.cancel_task(
            actor=self.actor, task_id=pk, **validated(CancelTask, request.data)
        )
        return Response(TaskSerializer(task).data)

    @extend_schema(request=Reason, responses=TaskSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: UUID) -> Response:
        """Put a failed task up again, and its ticket back to work."""
        task = services.retry_task(actor=self.actor, task_id=pk, **validated(Reason, request.data))
        return Response(TaskSerializer(task).data)

    @extend_schema(responses=ReviewSerializer(many=True))
    @action(detail=True, methods=["get"])
    def reviews(self, request: Request, pk: UUID) -> Response:
        """Every round of review of a task, oldest first."""
        rows = self.get_object().reviews.select_related("author", "reviewer")
        found = rows.order_by("iteration")[:200]
        return Response({"results": ReviewSerializer(found, many=True).data, "next": None})

    @extend_schema(request=None, responses={201: ReviewSerializer})
    @reviews.mapping.post
    def start_review(self, request: Request, pk: UUID) -> Response:
        """Take a finished task to review, for 600 seconds; its author cannot."""
        review = services.start_review(actor=self.actor, task_id=pk)
        return Response(ReviewSerializer(review).data, status=201)

    @extend_schema(request=GiveVerdict, responses=VerdictAnswer)
    @action(detail=True, methods=["post"], url_path="reviews/<int:iteration>/verdict")
    def verdict(self, request: Request, pk: UUID, iteration: int) -> Response:
        """End a review: the task is completed, or goes back with what is to be done."""
        review, unblocked = services.give_verdict(
            actor=self.actor,
            task_id=pk,
            iteration=iteration,
            **validated(GiveVerdict, request.data),
        )
        became = {
            Review.Status.PASSED: Task.Status.COMPLETED,
            Review.Status.NEEDS_WORK: Task.Status.NEEDS_WORK,
            Review.Status.ESCALATED: Task.Status.BLOCKED,
        }
        return Response(
            {
                "review": ReviewSerializer(review).data,
                "status": became[Review.Status(review.status)],
                "unblocked": [str(pk) for pk in unblocked],
            }
        )

    @extend_schema(request=DecideReview, responses=TaskSerializer)
    @action(detail=True, methods=["post"])
    def decide(self, request: Request, pk: UUID) -> Response:
        """A person ends what reviews could not: completed, one more round, or failed."""
        task = services.decide_review(
            actor=self.actor, task_id=pk, **validated(DecideReview, request.data)
        )
        return Response(TaskSerializer(task).data)
