"""Shapes of tasks and of reviews in phases' API."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from guardian.http import StrictSerializer
from guardian.serializers_locks import Resource
from phases.models import Review, Task
from phases.part import REASON
from phases.serializers import KeyField, PersonField, PriorityField
from phases.workflow_yaml import CAPABILITY


class WantedLock(Resource):
    mode = serializers.ChoiceField(["exclusive", "shared"], default="exclusive")


DEDUPLICATE = (
    "Link a task that is a copy of another of its ticket and phase (likeness of 0.92 and more) to"
    " that one: it is answered as duplicated and never dispatched."
)


class TaskFields(StrictSerializer):
    ticket_id = serializers.UUIDField()
    phase = serializers.CharField(
        max_length=46, required=False, help_text="Its key; without one that of the ticket."
    )
    priority = PriorityField(required=False)
    deadline = serializers.DateTimeField(required=False, allow_null=True)
    required_locks: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=WantedLock(),
        required=False,
        max_length=20,
        help_text="Taken with its claim, all or none; freed at its end.",
    )
    task_type = serializers.CharField(max_length=100)
    title = serializers.CharField(max_length=500)
    description = serializers.CharField(max_length=65536, required=False, allow_blank=True)
    required_capabilities = serializers.ListField(
        child=serializers.RegexField(
            CAPABILITY,
            error_messages={"invalid": "Must be 1 to 64 of A-Z, a-z, 0-9, _, ., : and -."},
        ),
        required=False,
        max_length=20,
    )
    timeout_seconds = serializers.IntegerField(min_value=1, max_value=86400, required=False)
    max_retries = serializers.IntegerField(min_value=0, max_value=10, required=False)
    depends_on = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=100
    )


class TaskCreate(TaskFields):
    deduplicate = serializers.BooleanField(default=False, help_text=DEDUPLICATE)


class TaskInBatch(TaskFields):
    ref = serializers.RegexField(
        r"^[A-Za-z0-9_.-]{1,64}\Z",
        required=False,
        help_text="What others of the batch call it by: ref:x.",
        error_messages={"invalid": "Must be 1 to 64 of A-Z, a-z, 0-9, _, . and -."},
    )
    depends_on = serializers.ListField(
        child=serializers.CharField(max_length=68),
        required=False,
        max_length=100,
        help_text="Ids of tasks, and ref:x for the task x of this batch.",
    )


class TaskBatch(StrictSerializer):
    tasks: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=TaskInBatch(), min_length=1, max_length=100
    )
    deduplicate = serializers.BooleanField(default=False, help_text=DEDUPLICATE)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "format": "uuid"},
            {
                "type": "array",
                "items": {"type": "string", "format": "uuid"},
                "minItems": 1,
                "maxItems": 100,
            },
        ]
    }
)
class TaskIds(serializers.Field[Any, Any, Any, Any]):
    """The id of a task, or up to 100 of them."""

    def to_internal_value(self, data: Any) -> list[UUID]:
        texts = data if isinstance(data, list) else [data]
        if not 1 <= len(texts) <= 100:
            raise serializers.ValidationError("Must be 1 to 100 ids of tasks.")
        try:
            return [UUID(text) for text in texts]
        except (ValueError, TypeError, AttributeError):
            raise serializers.ValidationError("Must be the id of a task, or a list.") from None

    def to_representation(self, value: Any) -> Any:
        return value


class DependsOn(StrictSerializer):
    depends_on = TaskIds()


class DependsOnOne(StrictSerializer):
    depends_on = serializers.UUIDField()


class CancelTask(StrictSerializer):
    reason = serializers.CharField(min_length=REASON[0], max_length=REASON[1])
    grace_seconds = serializers.IntegerField(min_value=0, max_value=300, required=False)


class TaskSerializer(serializers.ModelSerializer[Task]):
    phase = KeyField()
    priority = PriorityField(read_only=True)
    holder = PersonField()
    last_holder = PersonField()

    class Meta:
        model = Task
        fields = [
            "id",
            "ticket",
            "phase",
            "task_type",
            "title",
            "description",
            "priority",
            "status",
            "holder",
            "fence",
            "claimed_at",
            "lease_expires_at",
            "deps_left",
            "ready_at",
            "not_before",
            "required_capabilities",
            "retry_count",
            "max_retries",
            "lease_losses",
            "timeout_seconds",
            "progress",
            "note",
            "handoff",
            "result",
            "error_code",
            "error_message",
            "blocked_reason",
            "dispatch_note",
            "last_holder",
            "visit",
            "deadline",
            "required_locks",
            "cancel_deadline",
            "cancel_reason",
            "cancel_requested_by",
            "review_iteration",
            "duplicate_of",
            "discovery",
            "depth",
            "conversation_id",
            "started_at",
            "completed_at",
            "created_at",
        ]


class CreatedTask(TaskSerializer):
    ref = serializers.CharField(allow_null=True, help_text="As the batch called it.")

    class Meta(TaskSerializer.Meta):
        fields = ["ref", *TaskSerializer.Meta.fields]


class CreatedTasks(serializers.Serializer[Any]):
    tasks = CreatedTask(many=True, help_text="In the order of the batch.")


class SetTimeout(StrictSerializer):
    timeout_seconds = serializers.IntegerField(
        min_value=1, max_value=86400, allow_null=True, help_text="From its claim; null: for ever."
    )


class ReadyQuestion(StrictSerializer):
    phase = serializers.CharField(max_length=46, required=False)
    capability = serializers.ListField(
        child=serializers.CharField(max_length=64), required=False, max_length=100
    )
    limit = serializers.IntegerField(min_value=1, max_value=100, default=10)


class ReadyTaskAnswer(TaskSerializer):
    score = serializers.FloatField(help_text="Of now; the highest is claimed first.")

    class Meta(TaskSerializer.Meta):
        fields = ["score", *TaskSerializer.Meta.fields]


class GiveVerdict(StrictSerializer):
    passed = serializers.BooleanField()
    feedback = serializers.CharField(
        max_length=4000,
        required=False,
        allow_blank=True,
        help_text="What is to be done; a refusal needs it, and the next claim carries it.",
    )
    evidence = serializers.ListField(child=serializers.JSONField(), required=False, max_length=50)
    recommendations = serializers.ListField(
        child=serializers.CharField(max_length=1000), required=False, max_length=50
    )


class DecideReview(StrictSerializer):
    decision = serializers.ChoiceField(choices=["completed", "needs_work", "failed"])
    reason = serializers.CharField(min_length=REASON[0], max_length=REASON[1])


class ReviewSerializer(serializers.ModelSerializer[Review]):
    author = PersonField()
    reviewer = PersonField()

    class Meta:
        model = Review
        fields = [
            "id",
            "task",
            "iteration",
            "status",
            "author",
            "reviewer",
            "lease_expires_at",
            "feedback",
            "evidence",
            "recommendations",
            "created_at",
            "updated_at",
        ]


class VerdictAnswer(serializers.Serializer[Any]):
    review = ReviewSerializer()
    status = serializers.CharField(help_text="The task's, by this verdict.")
    unblocked = serializers.ListField(child=serializers.UUIDField())
