"""Shapes of memory in and out."""

from typing import Any, ClassVar

from rest_framework import serializers

from guardian.http import StrictSerializer
from memory.models import MemoryRecord
from memory.services.search import MAX_TOP_K, THRESHOLDS

MODES = list(THRESHOLDS)
QUERY_CHARACTERS = 2000
TEXT_KINDS = [kind for kind in MemoryRecord.Kind.values if kind != "task"]


class EvidenceItem(StrictSerializer):
    """What proves a memory: a name, where it is kept, and its hash."""

    label = serializers.CharField(max_length=100)  # type: ignore[assignment]  # a field's name
    id = serializers.CharField(max_length=100)
    sha256 = serializers.RegexField(
        r"^[0-9a-f]{64}$",
        required=False,
        error_messages={"invalid": "Must be 64 digits of 0-9 and a-f."},
    )


class ErrorPattern(StrictSerializer):
    """One error that occurred; the fingerprint is computed where it is missing."""

    fingerprint = serializers.CharField(max_length=64, required=False)
    type = serializers.CharField(max_length=100)
    message = serializers.CharField(max_length=2000, allow_blank=True)


class StoreText(StrictSerializer):
    """A text to remember."""

    text = serializers.CharField(trim_whitespace=False, allow_blank=True)
    title = serializers.CharField(max_length=200, required=False)
    memory_type = serializers.ChoiceField(MemoryRecord.MemoryType.choices, required=False)
    kind = serializers.ChoiceField(TEXT_KINDS, required=False)
    tags = serializers.ListField(
        child=serializers.CharField(max_length=50), max_length=50, required=False
    )
    metadata = serializers.DictField(required=False)
    visibility = serializers.ChoiceField(MemoryRecord.Visibility.choices, required=False)
    ticket_id = serializers.UUIDField(required=False)
    run_id = serializers.UUIDField(required=False)
    evidence = EvidenceItem(many=True, required=False)


class StoreTask(StrictSerializer):
    """How a task ended, told by whoever did it."""

    task_id = serializers.UUIDField()
    execution_summary = serializers.CharField(max_length=20_000)
    success = serializers.BooleanField()
    error_patterns = ErrorPattern(many=True, required=False)
    task_type = serializers.CharField(max_length=100, required=False)


class SearchFilters(StrictSerializer):
    """Which rows to search at all."""

    kind = serializers.ListField(
        child=serializers.ChoiceField(MemoryRecord.Kind.choices), required=False
    )
    tags = serializers.ListField(child=serializers.CharField(max_length=50), required=False)
    success = serializers.BooleanField(required=False)
    task_type = serializers.CharField(max_length=100, required=False)
    phase_id = serializers.UUIDField(required=False)
    ticket_id = serializers.UUIDField(required=False)
    owner_id = serializers.UUIDField(required=False)
    created_from = serializers.DateTimeField(required=False)
    created_to = serializers.DateTimeField(required=False)


class SearchBody(StrictSerializer):
    """A question to memory."""

    query = serializers.CharField(max_length=QUERY_CHARACTERS, allow_blank=True)
    mode = serializers.ChoiceField(MODES, required=False)
    top_k = serializers.IntegerField(min_value=1, max_value=MAX_TOP_K, required=False)
    threshold = serializers.FloatField(min_value=0, max_value=1, required=False)
    success_only = serializers.BooleanField(default=False)
    filters = SearchFilters(required=False)
    min_trust = serializers.FloatField(min_value=0, max_value=1, required=False)
    deep = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """`success_only` is a filter by another name."""
        if attrs.pop("success_only"):
            attrs["filters"] = {**attrs.get("filters", {}), "success": True}
        return attrs


class HitSerializer(serializers.Serializer[Any]):
    """One memory found, with why it stands where it stands."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    summary = serializers.CharField()
    excerpt = serializers.CharField()
    kind = serializers.CharField()
    task_type = serializers.CharField()
    success = serializers.BooleanField(allow_null=True)
    trust = serializers.FloatField()
    state = serializers.CharField()
    provenance = serializers.DictField()
    created_at = serializers.DateTimeField()
    score = serializers.FloatField()
    similarity = serializers.FloatField(allow_null=True)
    keyword_rank = serializers.FloatField(allow_null=True)


class SearchAnswerSerializer(serializers.Serializer[Any]):
    """Hits, best first, and how they came about."""

    results = HitSerializer(many=True)
    mode = serializers.CharField()
    model = serializers.CharField()
    plan = serializers.CharField()
    coverage = serializers.FloatField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField())


class StoredSerializer(serializers.Serializer[Any]):
    """What became of a text that was to be remembered."""

    id = serializers.UUIDField()
    duplicate = serializers.BooleanField()
    state = serializers.CharField()
    trust = serializers.FloatField()
    embedding_state = serializers.CharField()
    warnings = serializers.ListField(child=serializers.CharField())


class RecordSerializer(serializers.ModelSerializer[MemoryRecord]):
    """A memory in full."""

    owner = serializers.CharField(source="owner.username")

    class Meta:
        model = MemoryRecord
        fields: ClassVar[list[str]] = [
            "id",
            "owner",
            "owner_id",
            "kind",
            "memory_type",
            "title",
            "text",
            "summary",
            "tags",
            "metadata",
            "visibility",
            "trust",
            "state",
            "ticket_id",
            "task_id",
            "run_id",
            "phase_id",
            "evidence",
            "task_type",
            "success",
            "error_patterns",
            "reuse_count",
            "last_used_at",
            "embedding_state",
            "created_at",
            "updated_at",
        ]


class StatusSerializer(serializers.Serializer[Any]):
    """Whether memory can find by meaning, and how much of it."""

    model = serializers.CharField()
    dimension = serializers.IntegerField()
    healthy = serializers.BooleanField()
    reason = serializers.CharField(allow_blank=True)
    records = serializers.IntegerField()
    pending = serializers.IntegerField()
    coverage = serializers.FloatField(allow_null=True)
