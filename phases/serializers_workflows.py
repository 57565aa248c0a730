"""Shapes of workflows, phases and columns as they are read and edited."""

from typing import Any

from rest_framework import serializers

from guardian.http import StrictSerializer
from phases.models import BoardColumn, Phase, Workflow
from phases.serializers import ColumnSerializer, KeyField, PhaseSerializer


class WorkflowSerializer(serializers.ModelSerializer[Workflow]):
    phases = PhaseSerializer(many=True, read_only=True)
    columns = ColumnSerializer(many=True, read_only=True)

    class Meta:
        model = Workflow
        fields = [
            "id",
            "key",
            "name",
            "description",
            "initial_phase",
            "is_default",
            "has_result",
            "result_criteria",
            "on_result_found",
            "approval_required",
            "approval_timeout_minutes",
            "score",
            "limits",
            "phases",
            "columns",
            "version",
        ]


class PhaseDetailSerializer(serializers.ModelSerializer[Phase]):
    workflow = KeyField()
    column = KeyField()
    next_column = KeyField(allow_null=True)

    class Meta:
        model = Phase
        fields = [
            "id",
            "workflow",
            "column",
            "next_column",
            "key",
            "sequence_order",
            "name",
            "description",
            "kind",
            "allowed_transitions",
            "is_terminal",
            "done_definitions",
            "expected_outputs",
            "phase_prompt",
            "next_steps_guide",
            "entry_task",
            "review_required",
            "max_review_iterations",
            "configuration",
            "created_at",
            "updated_at",
            "version",
        ]


class PhasePatch(StrictSerializer):
    """Each is judged by the rules of a workflow's file; `column` is a column's key."""

    column = serializers.SlugField(max_length=64, required=False)
    sequence_order = serializers.IntegerField(min_value=0, max_value=32_767, required=False)
    name = serializers.CharField(max_length=100, required=False)
    description = serializers.CharField(max_length=20_000, required=False, allow_blank=True)
    kind = serializers.ChoiceField(choices=Phase.Kind.choices, required=False)
    allowed_transitions = serializers.ListField(
        child=serializers.CharField(max_length=46), required=False, max_length=100
    )
    is_terminal = serializers.BooleanField(required=False)
    done_definitions = serializers.ListField(
        child=serializers.DictField(), required=False, max_length=50
    )
    expected_outputs = serializers.ListField(
        child=serializers.DictField(), required=False, max_length=50
    )
    phase_prompt = serializers.CharField(
        max_length=20_000, required=False, allow_blank=True, trim_whitespace=False
    )
    next_steps_guide = serializers.ListField(
        child=serializers.CharField(max_length=1000), required=False, max_length=50
    )
    entry_task = serializers.DictField(required=False, allow_null=True)
    review_required = serializers.BooleanField(required=False)
    max_review_iterations = serializers.IntegerField(min_value=1, max_value=10, required=False)
    configuration = serializers.DictField(required=False)
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class BoardColumnSerializer(serializers.ModelSerializer[BoardColumn]):
    workflow = KeyField()
    phases = serializers.SlugRelatedField[Any](slug_field="key", many=True, read_only=True)

    class Meta:
        model = BoardColumn
        fields = [
            "id",
            "workflow",
            "key",
            "name",
            "position",
            "phases",
            "wip_limit",
            "is_terminal",
            "auto_transition_to",
            "color",
            "admitted_count",
            "queued_count",
            "total_count",
            "exceeded_since",
            "version",
        ]


class ColumnPatch(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    position = serializers.IntegerField(min_value=0, max_value=32_767, required=False)
    wip_limit = serializers.IntegerField(
        min_value=1, max_value=100_000, required=False, allow_null=True, help_text="null: no limit."
    )
    auto_transition_to = serializers.SlugField(
        max_length=64, required=False, allow_null=True, allow_blank=True
    )
    color = serializers.ChoiceField(choices=BoardColumn.Color.choices, required=False)
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class WorkflowImport(StrictSerializer):
    yaml = serializers.CharField(
        max_length=2 * 1024 * 1024, allow_blank=True, trim_whitespace=False
    )
    dry_run = serializers.BooleanField(required=False)
    overwrite = serializers.BooleanField(required=False)
    expect_digest = serializers.CharField(max_length=64, required=False)
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class ImportOptions(StrictSerializer):
    """What stands in the query where the body is the YAML itself."""

    dry_run = serializers.BooleanField(required=False, help_text="Show what it would do.")
    overwrite = serializers.BooleanField(
        required=False, help_text="Change what is there; without it only what is missing is made."
    )
    expect_digest = serializers.CharField(
        max_length=64, required=False, help_text="Of a dry run: anything else is refused, 409."
    )
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class FieldChange(serializers.Serializer[Any]):
    path = serializers.CharField()
    to = serializers.JSONField()

    def get_fields(self) -> dict[str, Any]:
        # A class cannot have an attribute named like the keyword.
        return {**super().get_fields(), "from": serializers.JSONField()}


class Refusal(serializers.Serializer[Any]):
    path = serializers.CharField()
    reason = serializers.CharField()
    tickets = serializers.IntegerField()


class ImportAnswer(serializers.Serializer[Any]):
    creates = serializers.ListField(child=serializers.CharField())
    updates = FieldChange(many=True)
    keeps = serializers.ListField(child=serializers.CharField())
    deletes = serializers.ListField(child=serializers.CharField())
    refused = Refusal(many=True)
    digest = serializers.CharField()


class ColumnStats(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    position = serializers.IntegerField()
    color = serializers.CharField()
    is_terminal = serializers.BooleanField()
    wip_limit = serializers.IntegerField(allow_null=True)
    admitted = serializers.IntegerField()
    queued = serializers.IntegerField()
    total = serializers.IntegerField()
    utilization = serializers.FloatField(allow_null=True)
    exceeded = serializers.IntegerField()
    exceeded_since = serializers.DateTimeField(allow_null=True)


class BoardStats(serializers.Serializer[Any]):
    workflow = serializers.CharField()
    columns = ColumnStats(many=True)


class WipViolation(serializers.Serializer[Any]):
    column = serializers.CharField()
    name = serializers.CharField()
    limit = serializers.IntegerField()
    admitted = serializers.IntegerField()
    excess = serializers.IntegerField()
    since = serializers.DateTimeField(allow_null=True)


class WipViolations(serializers.Serializer[Any]):
    results = WipViolation(many=True)
    next = serializers.CharField(allow_null=True)


class AutoTransitionAnswer(serializers.Serializer[Any]):
    moved = serializers.BooleanField()
    to_phase = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    detail = serializers.CharField()
