"""What went wrong, once per cause."""

from django.db import models
from django.db.models import Q

from guardian.models.base import uuid7


class ErrorLog(models.Model):
    """An error with a fingerprint: the same unresolved error only raises the count."""

    class Severity(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        CRITICAL = "critical"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey("guardian.Team", models.PROTECT, null=True, blank=True)
    error_type = models.CharField(max_length=100)
    error_message = models.TextField()
    stack_trace = models.TextField(blank=True)
    error_code = models.CharField(max_length=100, blank=True)
    component = models.CharField(max_length=100)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.MEDIUM)
    fingerprint = models.CharField(max_length=64)
    count = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    subject_label = models.CharField(max_length=60, blank=True)
    subject_id = models.CharField(max_length=60, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="error_is_open_once_per_fingerprint",
                fields=["team", "fingerprint"],
                condition=Q(resolved_at=None),
                nulls_distinct=False,
            )
        ]

    def __str__(self) -> str:
        return f"{self.error_type} in {self.component} ({self.count}×)"
