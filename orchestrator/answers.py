"""What the claim endpoints answer, for the API's description; the views build the values."""

from rest_framework import serializers


class LeaseAnswer(serializers.Serializer[None]):
    token = serializers.IntegerField(help_text="What every later call brings as `fence`.")
    expires_at = serializers.DateTimeField()


class TicketOfClaim(serializers.Serializer[None]):
    id = serializers.UUIDField()
    number = serializers.IntegerField()
    title = serializers.CharField()
    phase = serializers.CharField()


class PhasePrompt(serializers.Serializer[None]):
    phase_prompt = serializers.CharField()
    done_definitions = serializers.ListField(child=serializers.JSONField())
    expected_outputs = serializers.ListField(child=serializers.JSONField())
    next_steps_guide = serializers.ListField(child=serializers.JSONField())


class LockOfClaim(serializers.Serializer[None]):
    resource_type = serializers.CharField()
    resource_id = serializers.CharField()
    token = serializers.IntegerField(help_text="The lock's own fence.")


class DependencyOfClaim(serializers.Serializer[None]):
    id = serializers.UUIDField()
    summary = serializers.CharField(help_text="What its result says, at most 500 characters.")


class ClaimedTask(serializers.Serializer[None]):
    id = serializers.UUIDField()
    status = serializers.CharField()
    ticket = TicketOfClaim()
    task_type = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    priority = serializers.CharField()
    score = serializers.FloatField()
    lease = LeaseAnswer()
    heartbeat_every_seconds = serializers.IntegerField()
    prompt = PhasePrompt()
    context = serializers.DictField()  # type: ignore[assignment]  # hides the base's attribute
    context_summary = serializers.CharField()
    locks = LockOfClaim(many=True)
    dependencies = DependencyOfClaim(many=True, help_text="What it waited for.")
    budget_left = serializers.CharField(
        allow_null=True, help_text="US dollars of the tightest budget; null: nothing limits it."
    )
    feedback = serializers.CharField(allow_null=True, help_text="What a review asked for.")
    handoff = serializers.CharField(
        allow_null=True, help_text="What the one who gave it back left to the next."
    )
    memory = serializers.DictField(help_text="Similar past work, with what went wrong before.")


class ClaimAnswer(serializers.Serializer[None]):
    tasks = ClaimedTask(many=True, help_text="Empty: there is no work now.")
    retry_after_seconds = serializers.IntegerField(required=False)


class Refused(serializers.Serializer[None]):
    code = serializers.CharField()
    detail = serializers.CharField()


class NextAnswer(ClaimAnswer):
    refused = Refused(allow_null=True, help_text="Why there is none; the completion stands.")


class CompleteAnswer(serializers.Serializer[None]):
    status = serializers.CharField()
    unblocked = serializers.ListField(child=serializers.UUIDField())
    next = NextAnswer(required=False, help_text="Only where `claim_next` asked for it.")


class CancelAnswer(serializers.Serializer[None]):
    reason = serializers.CharField()
    deadline = serializers.DateTimeField(allow_null=True)


class HeartbeatAnswer(serializers.Serializer[None]):
    status = serializers.CharField()
    lease = LeaseAnswer()
    cancel = CancelAnswer(allow_null=True, help_text="Not null: stop, and release the task.")


class RetryAnswer(serializers.Serializer[None]):
    count = serializers.IntegerField()
    max = serializers.IntegerField()
    not_before = serializers.DateTimeField(allow_null=True)


class FailAnswer(serializers.Serializer[None]):
    status = serializers.CharField()
    permanent = serializers.BooleanField()
    retry = RetryAnswer(allow_null=True)


class ReleaseAnswer(serializers.Serializer[None]):
    status = serializers.CharField()
