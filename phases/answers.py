"""What verbs on tickets answer, for the API's description; the views build the values."""

from rest_framework import serializers


class Who(serializers.Serializer[None]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class TransitionAnswer(serializers.Serializer[None]):
    previous_phase = serializers.CharField()
    current_phase = serializers.CharField()
    transitioned_at = serializers.DateTimeField()
    by = Who()


class GateStatusAnswer(serializers.Serializer[None]):
    requirements_met = serializers.BooleanField()
    missing_artifacts = serializers.ListField(child=serializers.CharField())
    blocking_reasons = serializers.ListField(child=serializers.CharField())
    validation_status = serializers.CharField(
        help_text="Which question decided: not_configured (there is no gate), blocked (a document"
        " is missing), waiting_tasks, waiting_checks, or ready (all was there to be judged;"
        " whether it is good enough, requirements_met says)."
    )


class RequirementAnswer(serializers.Serializer[None]):
    key = serializers.CharField()
    kind = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]  # hides the base's attribute
    met = serializers.BooleanField()
    level = serializers.ChoiceField(["none", "reported", "verified"])
    stale = serializers.BooleanField()
    missing = serializers.BooleanField()
    reason = serializers.CharField()
    artifact_id = serializers.UUIDField(allow_null=True)
    artifact_type = serializers.CharField()
    observer = serializers.CharField()
    observation = serializers.DictField(allow_null=True)


class GateAnswer(serializers.Serializer[None]):
    gate_status = serializers.CharField()
    requirements_met = serializers.BooleanField()
    blocking_reasons = serializers.ListField(child=serializers.CharField())
    status = serializers.CharField(help_text="What decided, as in gate-status.")
    requirements = RequirementAnswer(many=True)
