"""The REST API of tasks: made, waited for, reviewed, called off."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors
from guardian.http import is_whole_number, once, validated
from phases import services
from phases.answers_tasks import (
    CircularAnswer,
    CleanedUp,
    DependencyReport,
    ScoreAnswer,
    TimeoutAnswer,
    WhyAnswer,
)
from phases.api_reviews import ReviewActions
from phases.models import Task, Ticket
from phases.reports import dependency_report, score_report, timeout_report, why_report
from phases.serializers import Reason
from phases.serializers_tasks import (
    CancelTask,
    CreatedTasks,
    DependsOn,
    DependsOnOne,
    ReadyQuestion,
    ReadyTaskAnswer,
    SetTimeout,
    TaskBatch,
    TaskCreate,
    TaskSerializer,
)


class TaskViewSet(ReviewActions):
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
        "batch": "tickets:write",
        "dependencies": "tickets:read",
        "add_dependencies": "tickets:write",
        "remove_dependency": "tickets:write",
        "check_circular": "tickets:read",
        "score": "tickets:read",
        "why": "tickets:read",
        "ready": "tickets:read",
        "timed_out": "tickets:read",
        "cancellable": "tickets:read",
        "cleanup_timed_out": "tickets:write",
        "set_timeout": "tickets:write",
        "timeout_status": "tickets:read",
    }
    reading_posts = frozenset({"check_circular"})
    # How alike tasks are is asked before their transaction: a model may be needed for it.
    own_once = frozenset({"create", "batch"})
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
        body["phase_key"] = body.pop("phase", None)
        if body.pop("deduplicate"):
            body["alike"] = services.compare_task(
                ticket=ticket,
                phase_key=body["phase_key"],
                title=body["title"],
                description=body.get("description"),
            )

        def make() -> Response:
            task = services.create_task(actor=self.actor, ticket=ticket, **body)
            return Response(TaskSerializer(task).data, status=201)

        return once(self, request, make)

    @extend_schema(request=TaskBatch, responses={201: CreatedTasks})
    @action(detail=False, methods=["post"])
    def batch(self, request: Request) -> Response:
        """Make up to 100 tasks with what they wait for, all or none."""
        body = validated(TaskBatch, request.data)
        asked = [services.NewTask(**fields) for fields in body["tasks"]]
        alike = None
        if body["deduplicate"]:
            alike = services.compare_tasks(actor=self.actor, tasks=asked)

        def make() -> Response:
            made = services.create_tasks(actor=self.actor, tasks=asked, alike=alike)
            told = [
                {"ref": fields.get("ref"), **TaskSerializer(task).data}
                for fields, task in zip(body["tasks"], made, strict=True)
            ]
            return Response({"tasks": told}, status=201)

        return once(self, request, make)

    @extend_schema(responses=DependencyReport)
    @action(detail=True, methods=["get"])
    def dependencies(self, request: Request, pk: UUID) -> Response:
        """What a task waits for, and what waits for it; up to 200 of each."""
        return Response(dependency_report(self.get_object()))

    @extend_schema(request=DependsOn, responses={201: DependencyReport, 200: DependencyReport})
    @dependencies.mapping.post
    def add_dependencies(self, request: Request, pk: UUID) -> Response:
        """Let a waiting task wait for others too; 200 where it does already."""
        body = validated(DependsOn, request.data)
        added = services.add_dependencies(actor=self.actor, task_id=pk, **body)
        return Response(dependency_report(self.get_object()), status=201 if added else 200)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "depends_on", OpenApiTypes.UUID, required=True, description="What it waits for."
            )
        ],
        request=None,
        responses={204: None},
    )
    @dependencies.mapping.delete
    def remove_dependency(self, request: Request, pk: UUID) -> Response:
        """Let a task no longer wait for another; without any it can be claimed.

        The other one is named in the query, or in a body.
        """
        said = request.query_params.dict() or request.data
        body = validated(DependsOnOne, said)
        services.remove_dependency(actor=self.actor, task_id=pk, **body)
        return Response(status=204)

    @extend_schema(request=DependsOn, responses=CircularAnswer)
    @action(detail=True, methods=["post"], url_path="check-circular")
    def check_circular(self, request: Request, pk: UUID) -> Response:
        """Whether dependencies would close a circle, and which; nothing is changed."""
        body = validated(DependsOn, request.data)
        cycle = services.circle_with(actor=self.actor, task_id=pk, **body)
        return Response({"circular": bool(cycle), "cycle": [str(pk) for pk in cycle]})

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

    def _whole(self) -> Task:
        """The task with all that a report on it reads."""
        rows = self.get_queryset().select_related(
            "ticket__workflow", "ticket__column", "ticket__phase__next_column"
        )
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    @extend_schema(responses=ScoreAnswer)
    @action(detail=True, methods=["get"])
    def score(self, request: Request, pk: UUID) -> Response:
        """What a claim orders it by now, part by part."""
        return Response(score_report(self._whole()))

    @extend_schema(responses=WhyAnswer)
    @action(detail=True, methods=["get"])
    def why(self, request: Request, pk: UUID) -> Response:
        """Everything that a task waits for; nothing where it can be claimed."""
        return Response(why_report(self._whole()))

    @extend_schema(parameters=[ReadyQuestion], responses=ReadyTaskAnswer(many=True))
    @action(detail=False, methods=["get"], filter_backends=[])
    def ready(self, request: Request) -> Response:
        """What a claim would find now, best first; with `capability`, by whoever has just these."""
        query = request.query_params
        said: dict[str, Any] = {key: query[key] for key in query}
        if "capability" in query:
            said["capability"] = query.getlist("capability")
        if is_whole_number(said.get("limit", "")) and len(said["limit"]) < 9:
            said["limit"] = int(said["limit"])
        asked = validated(ReadyQuestion, said)
        found = services.claimable_tasks(
            actor=self.actor,
            capabilities=asked.get("capability"),
            phase=asked.get("phase"),
            limit=asked["limit"],
        )
        rows = [{"score": round(value, 4), **TaskSerializer(task).data} for task, value in found]
        return Response({"results": rows, "next": None})

    @extend_schema(responses=TaskSerializer(many=True))
    @action(detail=False, methods=["get"], url_path="timed-out")
    def timed_out(self, request: Request) -> Response:
        """Tasks that run longer than they may, the longest overdue first; up to 200."""
        late = services.timed_out(team_id=self.actor.team_id)
        return self._first(late.select_related("phase", "holder", "last_holder"))

    @extend_schema(responses=TaskSerializer(many=True))
    @action(detail=False, methods=["get"])
    def cancellable(self, request: Request) -> Response:
        """Open tasks that you may call off, newest first; up to 200."""
        return self._first(services.cancellable_tasks(actor=self.actor))

    def _first(self, rows: QuerySet[Task]) -> Response:
        return Response({"results": TaskSerializer(rows[:200], many=True).data, "next": None})

    @extend_schema(request=None, responses=CleanedUp)
    @action(detail=False, methods=["post"], url_path="cleanup-timed-out")
    def cleanup_timed_out(self, request: Request) -> Response:
        """End what runs longer than it may, at once; needs level 3."""
        return Response(services.clean_up_timed_out(actor=self.actor))

    @extend_schema(request=SetTimeout, responses=TaskSerializer)
    @action(detail=True, methods=["post"], url_path="set-timeout")
    def set_timeout(self, request: Request, pk: UUID) -> Response:
        """How long an open task may run, counted from its claim."""
        body = validated(SetTimeout, request.data)
        task = services.set_timeout(actor=self.actor, task_id=pk, **body)
        return Response(TaskSerializer(task).data)

    @extend_schema(responses=TimeoutAnswer)
    @action(detail=True, methods=["get"], url_path="timeout-status")
    def timeout_status(self, request: Request, pk: UUID) -> Response:
        """How long a task may run, and how long it has."""
        return Response(timeout_report(self._whole()))
