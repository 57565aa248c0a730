"""Shapes of a gate's requirements."""

from typing import Any

from rest_framework import serializers

from guardian.http import StrictSerializer
from phases.models import GateRequirement

_PARAMETERS = (
    "By kind: artifact {artifact_type, rules, observed}; tasks_completed {}; file_exists {path};"
    " file_contains {path, text}; command_success {argv, timeout_seconds}; tests_pass {argv};"
    " metric {name, op, value}, name as test_coverage.percentage, op one of >= > <= < == !=;"
    " manual {question}; review {count}."
)


class RequirementChange(StrictSerializer):
    parameters = serializers.DictField(required=False, help_text=_PARAMETERS)
    min_evidence = serializers.ChoiceField(GateRequirement.Evidence.choices, required=False)
    required = serializers.BooleanField(required=False)  # type: ignore[assignment]  # the body's field


class RequirementCreate(RequirementChange):
    key = serializers.SlugField(max_length=64)
    kind = serializers.ChoiceField(GateRequirement.Kind.choices)


class RequirementSerializer(serializers.ModelSerializer[GateRequirement]):
    phase = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)

    class Meta:
        model = GateRequirement
        fields = [
            "id",
            "phase",
            "key",
            "kind",
            "parameters",
            "min_evidence",
            "required",
            "version",
            "created_at",
            "updated_at",
        ]
