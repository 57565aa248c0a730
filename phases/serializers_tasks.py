"""Shapes of tasks and of reviews in phases' API."""

from typing import Any

from rest_framework import serializers

from guardian.http import StrictSerializer
from phases.models import Review, Task
from phases.serializers import KeyField, PersonField, PriorityField


class TaskCreate(StrictSerializer):
    ticket_id = serializers.UUIDField()
    task_type = serializers.CharField(max_length=100)
    title = serializers.CharField(max_length=500)
    description = serializers.CharField(max_length=65536, required=False, allow_blank=True)
    required_capabilities = serializers.ListField(
        child=serializers.RegexField(
            r"^[A-Za-z0-9_.:-]{1,64}$",
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


class CancelTask(StrictSerializer):
    reason = serializers.CharField(min_length=3, max_length=2000)
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
            "review_iteration",
            "duplicate_of",
            "discovery",
            "depth",
            "conversation_id",
            "started_at",
            "completed_at",
            "created_at",
        ]


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
    reason = serializers.CharField(min_length=10, max_length=2000)


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
