"""The REST API of a task's reviews: begun, judged, decided by a person."""

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.http import TeamViewSet, validated
from phases import services
from phases.models import Review, Task
from phases.serializers_tasks import (
    DecideReview,
    GiveVerdict,
    ReviewSerializer,
    TaskSerializer,
    VerdictAnswer,
)


class ReviewActions(TeamViewSet):
    """What `TaskViewSet` answers below /reviews, and the decision after the last one."""

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
