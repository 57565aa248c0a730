"""Shapes of discoveries."""

from typing import Any
from uuid import UUID

from rest_framework import serializers

from guardian.http import StrictSerializer
from phases.models import TaskDiscovery
from phases.serializers import PersonField
from phases.serializers_tasks import TaskFields, TaskSerializer
from phases.services.spawning import MOST


class SpawnTask(TaskFields):
    """As a task is made by itself, without its ticket and priority, which the source has."""

    ticket_id = None  # type: ignore[assignment]  # takes the field out
    priority = None  # type: ignore[assignment]  # as above
    phase = serializers.CharField(
        max_length=46, required=False, help_text="Its key; without one that of the source."
    )


class _Spawns(StrictSerializer):
    spawn: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=SpawnTask(), min_length=1, max_length=MOST
    )


class DiscoveryCreate(StrictSerializer):
    source_task = serializers.UUIDField(help_text="The task somebody was at.")
    discovery_type = serializers.ChoiceField(choices=TaskDiscovery.Type.choices)
    description = serializers.CharField(max_length=10_000)
    evidence = serializers.DictField(required=False, help_text="At most 256 KiB.")
    priority_boost = serializers.BooleanField(
        required=False, help_text="Its tasks are one step more urgent than the source."
    )
    metadata = serializers.DictField(required=False, help_text="At most 256 KiB.")
    spawn: serializers.ListSerializer[Any] = serializers.ListSerializer(
        child=SpawnTask(), required=False, min_length=1, max_length=MOST
    )


class DiscoveryBranch(_Spawns):
    pass


class DiscoveryResolve(StrictSerializer):
    status = serializers.ChoiceField(choices=["in_progress", "resolved", "invalid"])
    note = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class DiscoverySerializer(serializers.ModelSerializer[TaskDiscovery]):
    discovered_by = PersonField()
    ticket = serializers.UUIDField(source="source_task.ticket_id", read_only=True)
    spawned_task_ids = serializers.SerializerMethodField()

    class Meta:
        model = TaskDiscovery
        fields = [
            "id",
            "source_task",
            "ticket",
            "discovery_type",
            "description",
            "evidence",
            "priority_boost",
            "resolution_status",
            "metadata",
            "discovered_by",
            "discovered_at",
            "spawned_task_ids",
            "created_at",
            "updated_at",
        ]

    def get_spawned_task_ids(self, discovery: TaskDiscovery) -> list[UUID]:
        return sorted(task.pk for task in discovery.spawned.all())


class DiscoveryWithTasks(DiscoverySerializer):
    """With the tasks that this very request made; some may be duplicated."""

    tasks = TaskSerializer(many=True, read_only=True, default=[])

    class Meta(DiscoverySerializer.Meta):
        fields = [*DiscoverySerializer.Meta.fields, "tasks"]


class PhaseCounts(serializers.Serializer[Any]):
    workflow = serializers.CharField()
    phase = serializers.CharField(help_text="Of the task in which it was found.")
    types = serializers.DictField(child=serializers.IntegerField())
    total = serializers.IntegerField()


class DiscoveryStats(serializers.Serializer[Any]):
    phases = PhaseCounts(many=True)
    types = serializers.DictField(child=serializers.IntegerField())
    statuses = serializers.DictField(child=serializers.IntegerField())
    total = serializers.IntegerField()
