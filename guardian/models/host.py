"""Machines that do background work."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from guardian.models.base import uuid7

SILENT_AFTER = timedelta(seconds=30)


class WorkerHostQuerySet(models.QuerySet["WorkerHost"]):
    def live(self) -> "WorkerHostQuerySet":
        """Workers that still beat, by the database clock."""
        return self.filter(heartbeat_at__gt=Now() - SILENT_AFTER)


class WorkerHost(models.Model):
    """One worker process: what it serves and how much at once. It beats every 10 s."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200, unique=True, help_text="Host name and process id.")
    queues = ArrayField(models.CharField(max_length=50), default=list)
    concurrency = models.PositiveSmallIntegerField(help_text="Jobs at once in the work lane.")
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    objects = WorkerHostQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
