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
        " is missing), waiting_tasks, waiting_checks (a run of ours, a review or an answer lacks"
        " or is stale), or ready: all was there to be judged. Ready is no verdict: whether it is"
        " good enough, requirements_met says, and blocking_reasons why not."
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
    artifact = serializers.DictField(
        allow_null=True, help_text="The piece that counts: id, artifact_type, path, sha256."
    )
    observer = serializers.CharField(help_text="Who stands for it.")
    observation = serializers.DictField(allow_null=True)
    question = serializers.CharField(help_text="What a person is asked; only of kind manual.")
    waits_for = serializers.CharField(
        help_text="What is lacking: check (a run of ours), review, answer (to the question), or"
        " nothing."
    )
    check = serializers.DictField(
        allow_null=True,
        help_text="How a run of ours stands: inputs (SHA-256 of what it is about), state wanted,"
        " refused or done; where refused: code, message, needed and offered isolation.",
    )


class GateAnswer(serializers.Serializer[None]):
    gate_status = serializers.CharField()
    requirements_met = serializers.BooleanField()
    blocking_reasons = serializers.ListField(child=serializers.CharField())
    status = serializers.CharField(help_text="What decided, as validation_status of gate-status.")
    requirements = RequirementAnswer(many=True)


class CardResult(serializers.Serializer[None]):
    id = serializers.UUIDField(help_text="The ticket's.")
    ticket_id = serializers.UUIDField()
    ok = serializers.BooleanField()
    status = serializers.IntegerField(help_text="That of the same move made alone.")
    version = serializers.IntegerField(required=False, help_text="Of a card that was moved.")
    code = serializers.CharField(required=False, help_text="Of a card that was not.")
    detail = serializers.CharField(required=False)


class MovedCards(serializers.Serializer[None]):
    results = CardResult(many=True)
