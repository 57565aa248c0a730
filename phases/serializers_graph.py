"""Shapes of the task graph."""

from typing import Any

from rest_framework import serializers

from guardian.http import StrictSerializer


class GraphQuestion(StrictSerializer):
    workflow = serializers.SlugField(
        max_length=64, required=False, help_text="Its key; by default the team's first workflow."
    )


class _Holder(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(["human", "agent", "service"])


class _TicketOfNode(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    number = serializers.IntegerField()


class GraphNode(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="The task's.")
    label = serializers.CharField()  # type: ignore[assignment]  # hides the base's attribute
    type = serializers.CharField(help_text="The task's type.")
    phase = serializers.CharField()
    status = serializers.CharField()
    holder = _Holder(allow_null=True)
    critical = serializers.BooleanField(
        help_text="Whether it is on a longest chain of open tasks that wait for each other."
    )
    ticket = _TicketOfNode()


class GraphEdge(serializers.Serializer[Any]):
    to = serializers.UUIDField()
    type = serializers.ChoiceField(["dependency", "discovery"])
    discovery_type = serializers.CharField(allow_null=True)
    label = serializers.CharField()  # type: ignore[assignment]  # as above

    def get_fields(self) -> dict[str, Any]:
        """Also `from`, which no attribute can be called."""
        said = serializers.UUIDField(
            help_text="What is waited for, or the task in which something was discovered."
        )
        return {"from": said, **super().get_fields()}


class GraphAnswer(serializers.Serializer[Any]):
    nodes = GraphNode(many=True)
    edges = GraphEdge(many=True)
    truncated = serializers.BooleanField(help_text="Whether there are more than 2,000 tasks.")
