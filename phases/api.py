"""The REST API of phases: tickets, tasks, gates, the board."""

from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors
from guardian.http import ListQuery, Page, etag_of, validated
from phases import services
from phases.answers import GateAnswer, GateStatusAnswer, TransitionAnswer
from phases.api_tickets import (
    RELATED,
    TicketEnds,
    TicketQuery,
    TicketReading,
    TicketWork,
    ticket_response,
)
from phases.gates import evaluate
from phases.models import PhaseGateArtifact, PhaseHistory, Ticket
from phases.serializers import (
    ArtifactCreate,
    ArtifactSerializer,
    HistorySerializer,
    PhaseQuestion,
    Reason,
    TicketCreate,
    TicketPatch,
    TicketSerializer,
    Transition,
    Verdict,
)
from phases.targets import targets


class TicketViewSet(TicketReading, TicketEnds, TicketWork):
    """Tickets and what happens to them."""

    queryset = Ticket.objects.select_related(*RELATED)
    serializer_class = TicketSerializer
    scopes = {
        **TicketReading.reading_scopes,
        **TicketEnds.end_scopes,
        **TicketWork.work_scopes,
        "list": "tickets:read",
        "retrieve": "tickets:read",
        "create": "tickets:write",
        "partial_update": "tickets:write",
        "transition": "tickets:write",
        "transitions": "tickets:read",
        "history": "tickets:read",
        "validate_gate": "tickets:write",
        "gate_status": "tickets:read",
        "artifacts": "tickets:read",
        "add_artifact": "tickets:write",
        "verify": "approvals:decide",
        "cancel": "tickets:write",
        "reopen": "tickets:write",
    }
    version_required = frozenset({"partial_update"})
    filters = {
        "status": "status",
        "phase": "phase__key",
        "column": "column__key",
        "workflow": "workflow__key",
        "assignee": "assignee_id",
        "label": "labels__contains",
        "blocked": "is_blocked",
        "priority": "priority",
        "approval_status": "approval_status",
        "number": "number",
        "created_at": "created_at",
        "deadline": "deadline",
    }
    searched = ("title",)

    def page(self, rows: QuerySet[Ticket] | None = None) -> Page:
        """The asked page; a priority may be named by its word."""
        query = TicketQuery(
            self.request,
            Ticket,
            filters=self.filters,
            search=self.searched,
            default=self.default_ordering,
        )
        return query.page(query.filtered(self.get_queryset() if rows is None else rows))

    @extend_schema(request=TicketCreate, responses={201: TicketSerializer})
    def create(self, request: Request) -> Response:
        """Open a ticket in a workflow; its first task is made with it."""
        ticket = services.open_ticket(actor=self.actor, **validated(TicketCreate, request.data))
        return ticket_response(ticket.pk, 201)

    @extend_schema(request=TicketPatch, responses=TicketSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Change a ticket; another source lets it begin anew."""
        version = self.version()
        changes = validated(TicketPatch, request.data)
        services.update_ticket(actor=self.actor, ticket_id=pk, version=version, changes=changes)
        return ticket_response(pk)

    @extend_schema(request=Transition, responses=TransitionAnswer)
    @action(detail=True, methods=["post"])
    def transition(self, request: Request, pk: UUID) -> Response:
        """Move a ticket to another phase, if its gate passes."""
        body = validated(Transition, request.data)
        version = self.version()
        try:
            moved = services.transition(actor=self.actor, ticket_id=pk, version=version, **body)
        except errors.DomainError as refusal:
            # An answer, no exception: under a key, undoing it would also undo the gate's result.
            return self.handle_exception(refusal)
        return Response(
            {
                "previous_phase": moved.from_phase.key,
                "current_phase": moved.ticket.phase.key,
                "transitioned_at": moved.ticket.phase_entered_at,
                "by": {"id": str(self.actor.id), "name": self.actor.name},
            },
            headers={"ETag": etag_of(moved.ticket)},
        )

    @extend_schema(responses=OpenApiTypes.OBJECT)
    @action(detail=True, methods=["get"])
    def transitions(self, request: Request, pk: UUID) -> Response:
        """Where it may go now and, for every other phase, why not."""
        return Response({"results": targets(self.get_object()), "next": None})

    @extend_schema(responses=HistorySerializer(many=True))
    @action(detail=True, methods=["get"])
    def history(self, request: Request, pk: UUID) -> Response:
        """Every move of a ticket: from, to, by whom and why; oldest first."""
        query = ListQuery(request, PhaseHistory, filters={"kind": "kind"}, default="id")
        rows = self.get_object().history.select_related("from_phase", "to_phase", "transitioned_by")
        page = query.page(query.filtered(rows))
        return page.response(list(HistorySerializer(page.rows, many=True).data))

    @extend_schema(request=PhaseQuestion, responses=GateAnswer)
    @action(detail=True, methods=["post"], url_path="validate-gate")
    def validate_gate(self, request: Request, pk: UUID) -> Response:
        """Ask a gate and keep its answer, requirement by requirement."""
        result, outcome = services.validate_gate(
            actor=self.actor, ticket_id=pk, **validated(PhaseQuestion, request.data)
        )
        return Response(
            {
                "gate_status": result.gate_status,
                "requirements_met": outcome.passed,
                "blocking_reasons": outcome.reasons,
                "status": outcome.evaluation,
                "requirements": [c.as_dict() for c in outcome.criteria],
            }
        )

    @extend_schema(parameters=[PhaseQuestion], responses=GateStatusAnswer)
    @action(detail=True, methods=["get"], url_path="gate-status")
    def gate_status(self, request: Request, pk: UUID) -> Response:
        """What the phase, or another of its workflow, still misses; nothing is stored."""
        ticket = self.get_object()
        query = validated(PhaseQuestion, request.query_params.dict())
        outcome = evaluate(ticket, services.phase_asked(ticket=ticket, **query))
        missing = [c.artifact_type for c in outcome.criteria if c.missing and c.required]
        return Response(
            {
                "requirements_met": outcome.passed,
                "missing_artifacts": missing,
                "blocking_reasons": outcome.reasons,
                "validation_status": outcome.evaluation,
            }
        )

    @extend_schema(responses=ArtifactSerializer(many=True))
    @action(detail=True, methods=["get"])
    def artifacts(self, request: Request, pk: UUID) -> Response:
        """The evidence of a ticket, oldest first."""
        filters = {"artifact_type": "artifact_type", "phase": "phase__key", "source": "source"}
        query = ListQuery(request, PhaseGateArtifact, filters=filters, default="id")
        rows = self.get_object().artifacts.select_related(
            "phase", "collected_by", "verified_by", "rejected_by"
        )
        page = query.page(query.filtered(rows))
        return page.response(list(ArtifactSerializer(page.rows, many=True).data))

    @extend_schema(request=ArtifactCreate, responses={201: ArtifactSerializer})
    @artifacts.mapping.post
    def add_artifact(self, request: Request, pk: UUID) -> Response:
        """Hand evidence in; the same again answers 200 with the first."""
        artifact, new = services.add_artifact(
            actor=self.actor, ticket_id=pk, **validated(ArtifactCreate, request.data)
        )
        return Response(ArtifactSerializer(artifact).data, status=201 if new else 200)

    @extend_schema(request=Verdict, responses=ArtifactSerializer)
    @action(detail=True, methods=["post"], url_path="artifacts/<uuid:artifact_id>/verify")
    def verify(self, request: Request, pk: UUID, artifact_id: UUID) -> Response:
        """Confirm or reject evidence of somebody else; answers a gate's question, yes or no."""
        body = validated(Verdict, request.data)
        artifact = services.verify_artifact(
            actor=self.actor,
            ticket_id=pk,
            artifact_id=artifact_id,
            confirm=body["verdict"] == "confirm",
            note=body.get("note", ""),
        )
        return Response(ArtifactSerializer(artifact).data)

    @extend_schema(request=Reason, responses=TicketSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: UUID) -> Response:
        """Call a ticket off with its open tasks."""
        services.cancel_ticket(actor=self.actor, ticket_id=pk, **validated(Reason, request.data))
        return ticket_response(pk)

    @extend_schema(request=Reason, responses=TicketSerializer)
    @action(detail=True, methods=["post"])
    def reopen(self, request: Request, pk: UUID) -> Response:
        """Take a failed or cancelled ticket up again, in the phase it was in."""
        version = self.version()
        reason = validated(Reason, request.data)["reason"]
        services.reopen_ticket(actor=self.actor, ticket_id=pk, reason=reason, version=version)
        return ticket_response(pk)
