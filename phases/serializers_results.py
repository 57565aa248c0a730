"""Shapes of results, and of what happened to a ticket."""

from typing import Any

from rest_framework import serializers

from guardian.http import StrictSerializer
from phases.models import WorkflowResult
from phases.part import REASON
from phases.serializers import PersonField


class ResultCreate(StrictSerializer):
    summary = serializers.CharField(max_length=4000)
    evidence = serializers.ListField(
        child=serializers.JSONField(),
        required=False,
        max_length=50,
        help_text="What it rests on; at most 256 KiB.",
    )


class ResultVerdict(StrictSerializer):
    verdict = serializers.ChoiceField(choices=["validated", "rejected"])
    reason = serializers.CharField(max_length=REASON[1], required=False, allow_blank=True)


class ResultSerializer(serializers.ModelSerializer[WorkflowResult]):
    submitted_by = PersonField()
    decided_by = PersonField()

    class Meta:
        model = WorkflowResult
        fields = [
            "id",
            "ticket",
            "submitted_by",
            "summary",
            "evidence",
            "status",
            "decided_by",
            "decided_at",
            "reason",
            "created_at",
        ]


class _Subject(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]  # hides the base's attribute
    id = serializers.CharField()


class _Person(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(["human", "agent", "service"])


class TimelineRow(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="The event's.")
    seq = serializers.IntegerField(allow_null=True, help_text="Null while it has no number yet.")
    kind = serializers.CharField()
    alias = serializers.CharField(allow_null=True)
    at = serializers.DateTimeField()
    actor = _Person(allow_null=True)
    subject = _Subject()
    text = serializers.CharField(help_text="What happened, as the page says it.")
    detail = serializers.CharField()
    tone = serializers.CharField(help_text="ok, warn, bad or empty.")
    reason = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # as above


class TimelinePage(serializers.Serializer[Any]):
    results = TimelineRow(many=True)
    next = serializers.CharField(allow_null=True)
