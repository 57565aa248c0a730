"""Machines that run tools and what isolation they proved."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from guardian.models.base import uuid7

STALE_AFTER = timedelta(seconds=45)


class SandboxHostQuerySet(models.QuerySet["SandboxHost"]):
    def live(self) -> "SandboxHostQuerySet":
        """Hosts whose worker still reports, by the database clock."""
        return self.filter(heartbeat_at__gt=Now() - STALE_AFTER)


class SandboxHost(models.Model):
    """One host with a sandbox worker: its proven levels, the evidence, warnings."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200, unique=True)
    levels = ArrayField(models.CharField(max_length=10), default=list)
    evidence = models.JSONField(default=dict)
    warnings = ArrayField(models.TextField(), default=list, blank=True)
    image = models.CharField(max_length=80, blank=True)
    probed_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SandboxHostQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
