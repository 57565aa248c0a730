"""Shapes of phases' API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from guardian import bulk
from guardian.http import StrictSerializer
from phases.models import (
    BoardColumn,
    Phase,
    PhaseGateArtifact,
    PhaseHistory,
    Ticket,
)
from phases.part import REASON

PRIORITIES = {"CRITICAL": 1, "HIGH": 2, "MEDIUM": 3, "LOW": 4}


class PriorityField(serializers.ChoiceField):
    """A word in and out, a number in the database."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=list(PRIORITIES), **options)

    def to_internal_value(self, data: Any) -> Any:
        return PRIORITIES[str(super().to_internal_value(data))]

    def to_representation(self, value: Any) -> Any:
        return next(word for word, number in PRIORITIES.items() if number == value)


class TicketCreate(StrictSerializer):
    title = serializers.CharField(max_length=500)
    workflow = serializers.SlugField(max_length=64, required=False)
    phase = serializers.CharField(max_length=46, required=False)
    description = serializers.CharField(max_length=65536, required=False, allow_blank=True)
    priority = PriorityField(required=False)
    deadline = serializers.DateTimeField(required=False)
    labels = serializers.ListField(
        child=serializers.CharField(max_length=50), required=False, max_length=20
    )
    assignee = serializers.UUIDField(required=False)
    context = serializers.DictField(required=False)  # type: ignore[assignment]  # the body's field; a serializer's own `context` stays `_context`


class TicketPatch(StrictSerializer):
    title = serializers.CharField(max_length=500, required=False)
    description = serializers.CharField(max_length=65536, required=False, allow_blank=True)
    priority = PriorityField(required=False)
    deadline = serializers.DateTimeField(required=False, allow_null=True)
    labels = serializers.ListField(
        child=serializers.CharField(max_length=50), required=False, max_length=20
    )
    assignee = serializers.UUIDField(required=False, allow_null=True)
    # Its keys replace those of the ticket, null removes one; the others stay.
    context = serializers.DictField(required=False)  # type: ignore[assignment]  # as above


class Transition(StrictSerializer):
    to_phase = serializers.CharField(max_length=46)
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    override = serializers.BooleanField(required=False)
    force = serializers.BooleanField(required=False)
    queue = serializers.BooleanField(required=False)


class Reason(StrictSerializer):
    reason = serializers.CharField(min_length=REASON[0], max_length=REASON[1])


class PerhapsReason(StrictSerializer):
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class ArtifactCreate(StrictSerializer):
    artifact_type = serializers.SlugField(max_length=64)
    path = serializers.CharField(max_length=500, required=False, allow_blank=True)
    content = serializers.JSONField()


class Verdict(StrictSerializer):
    verdict = serializers.ChoiceField(choices=["confirm", "reject"])
    note = serializers.CharField(
        max_length=2000,
        required=False,
        allow_blank=True,
        help_text="Kept beside the answer to a gate's question.",
    )


class PhaseQuestion(StrictSerializer):
    phase = serializers.CharField(max_length=46, required=False, help_text="A phase's key.")
    phase_id = serializers.CharField(
        max_length=46, required=False, help_text="The same by its id, or by its key."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(set(attrs.values())) > 1:
            raise serializers.ValidationError({"phase_id": "Names another phase than `phase`."})
        return {"phase": next(iter(attrs.values()), None)}


class BoardCardsQuestion(StrictSerializer):
    workflow = serializers.SlugField(max_length=64)
    column = serializers.SlugField(max_length=64)
    after = serializers.UUIDField()


class MoveCard(StrictSerializer):
    ticket_id = serializers.UUIDField()
    column = serializers.SlugField(max_length=64)
    position = serializers.IntegerField(min_value=0, max_value=100_000, required=False)
    version = serializers.IntegerField(min_value=1, required=False)
    force = serializers.BooleanField(required=False)
    override = serializers.BooleanField(required=False)
    queue = serializers.BooleanField(required=False)
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class CardInBatch(StrictSerializer):
    ticket_id = serializers.UUIDField()
    column = serializers.SlugField(max_length=64)
    version = serializers.IntegerField(
        min_value=1, required=False, help_text="As it was read; without it the card stays, 428."
    )


class MoveCards(StrictSerializer):
    moves: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=CardInBatch(), min_length=1, max_length=bulk.MOST
    )
    atomic = serializers.BooleanField(
        required=False, help_text="All moves or none: with one refused, 409 and nothing moved."
    )
    all_or_nothing = serializers.BooleanField(required=False, help_text="The same as atomic.")
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        said = {attrs.pop(name) for name in ("atomic", "all_or_nothing") if name in attrs}
        if len(said) == 2:
            raise serializers.ValidationError({"atomic": "Says another thing than all_or_nothing."})
        return {**attrs, "all_or_nothing": said == {True}}


@extend_schema_field(
    {
        "type": ["object", "null"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "name": {"type": "string"},
            "kind": {"type": "string", "enum": ["human", "agent", "service"]},
        },
    }
)
class PersonField(serializers.Field[Any, Any, Any, Any]):
    """A user as {id, name, kind}."""

    def __init__(self) -> None:
        super().__init__(read_only=True)

    def to_representation(self, value: Any) -> dict[str, str]:
        return {"id": str(value.pk), "name": value.name, "kind": value.kind}


class KeyField(serializers.SlugRelatedField[Any]):
    """A workflow, phase or column by its key."""

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="key", read_only=True, **options)


class TicketSerializer(serializers.ModelSerializer[Ticket]):
    workflow = KeyField()
    phase = KeyField()
    previous_phase = KeyField(allow_null=True)
    column = KeyField()
    priority = PriorityField(read_only=True)
    assignee = PersonField()
    created_by = PersonField()

    class Meta:
        model = Ticket
        fields = [
            "id",
            "number",
            "title",
            "description",
            "workflow",
            "phase",
            "previous_phase",
            "column",
            "visit",
            "phase_entered_at",
            "status",
            "priority",
            "admitted_at",
            "deadline",
            "assignee",
            "labels",
            "is_blocked",
            "blocked_reason",
            "approval_status",
            "approval_expires_at",
            "context",
            "context_summary",
            "auto_wait",
            "created_by",
            "created_at",
            "updated_at",
            "version",
        ]


class ArtifactSerializer(serializers.ModelSerializer[PhaseGateArtifact]):
    phase = KeyField()
    collected_by = PersonField()
    verified_by = PersonField()
    rejected_by = PersonField()

    class Meta:
        model = PhaseGateArtifact
        fields = [
            "id",
            "ticket",
            "phase",
            "visit",
            "artifact_type",
            "artifact_path",
            "artifact_content",
            "sha256",
            "task",
            "collected_by",
            "source",
            "observation",
            "verified_by",
            "rejected_by",
            "rejected_note",
            "created_at",
        ]


class HistorySerializer(serializers.ModelSerializer[PhaseHistory]):
    from_phase = KeyField(allow_null=True)
    to_phase = KeyField()
    transitioned_by = PersonField()

    class Meta:
        model = PhaseHistory
        fields = [
            "id",
            "from_phase",
            "to_phase",
            "kind",
            "via",
            "overrides",
            "transition_reason",
            "transitioned_by",
            "gate_result",
            "artifacts",
            "created_at",
        ]


class ColumnSerializer(serializers.ModelSerializer[BoardColumn]):
    class Meta:
        model = BoardColumn
        fields = [
            "key",
            "name",
            "position",
            "wip_limit",
            "is_terminal",
            "auto_transition_to",
            "color",
            "version",
        ]


class PhaseSerializer(serializers.ModelSerializer[Phase]):
    class Meta:
        model = Phase
        fields = ["key", "name", "sequence_order", "kind", "allowed_transitions", "is_terminal"]
