"""What verbs on tasks answer, for the API's description; `reports` builds the values."""

from typing import Any

from rest_framework import serializers


class DependencyOfTask(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="The other task's.")
    ticket = serializers.UUIDField()
    title = serializers.CharField()
    status = serializers.CharField()
    satisfied = serializers.BooleanField()


class DependencyReport(serializers.Serializer[Any]):
    dependencies = DependencyOfTask(many=True, help_text="What it waits for.")
    dependents = DependencyOfTask(many=True, help_text="What waits for it.")
    deps_left = serializers.IntegerField()


class CircularAnswer(serializers.Serializer[Any]):
    circular = serializers.BooleanField()
    cycle = serializers.ListField(child=serializers.UUIDField())


class ScorePart(serializers.Serializer[Any]):
    name = serializers.CharField()
    value = serializers.FloatField(help_text="From 0 to 1.")
    weight = serializers.FloatField()
    points = serializers.FloatField()


class ScoreAnswer(serializers.Serializer[Any]):
    score = serializers.FloatField()
    parts = ScorePart(many=True)
    factor = serializers.FloatField(help_text="Multiplies the parts; above 1 near the deadline.")
    floor = serializers.FloatField(help_text="The least it has, for it waited long; else 0.")
    waited_seconds = serializers.FloatField()
    ready_at = serializers.DateTimeField(allow_null=True)
    deadline = serializers.DateTimeField(allow_null=True)
    at = serializers.DateTimeField()


class WaitAnswer(serializers.Serializer[Any]):
    code = serializers.CharField(
        help_text="dependency, dependency_failed, backoff, wip_full, wip_next_full,"
        " no_capable_agent, budget, lock, approval, review, reserved, later_phase,"
        " ticket_blocked, paused, ticket_closed, state."
    )
    detail = serializers.CharField()
    refs = serializers.ListField(child=serializers.DictField())
    until = serializers.DateTimeField(allow_null=True)


class WhyAnswer(serializers.Serializer[Any]):
    status = serializers.CharField()
    claimable = serializers.BooleanField()
    waiting = WaitAnswer(many=True)


class TimeoutAnswer(serializers.Serializer[Any]):
    status = serializers.CharField()
    timeout_seconds = serializers.IntegerField(allow_null=True)
    claimed_at = serializers.DateTimeField(allow_null=True)
    times_out_at = serializers.DateTimeField(allow_null=True)
    elapsed_seconds = serializers.FloatField(allow_null=True)
    remaining_seconds = serializers.FloatField(allow_null=True)
    timed_out = serializers.BooleanField()
    lease_expires_at = serializers.DateTimeField(allow_null=True)
    cancel_deadline = serializers.DateTimeField(allow_null=True)
    retry_count = serializers.IntegerField()
    max_retries = serializers.IntegerField()


class CleanedUp(serializers.Serializer[Any]):
    failed = serializers.IntegerField()
    retried = serializers.IntegerField()
