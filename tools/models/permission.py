"""Who may use a tool."""

from django.db import models
from django.db.models import Q

from guardian.models.base import TeamQuerySet, TeamRow

LEVELS = ("read", "write", "execute", "admin", "owner")  # weakest first


class ToolPermission(TeamRow):
    """Allows or denies a level of use to a user, an agent, a role or the whole team."""

    class PrincipalType(models.TextChoices):
        USER = "user"
        AGENT = "agent"
        ROLE = "role"
        TEAM = "team"

    class Level(models.TextChoices):
        READ = "read"
        WRITE = "write"
        EXECUTE = "execute"
        ADMIN = "admin"
        OWNER = "owner"

    class Effect(models.TextChoices):
        ALLOW = "allow"
        DENY = "deny"

    tool = models.ForeignKey("tools.Tool", models.CASCADE, related_name="permissions")
    principal_type = models.CharField(max_length=5, choices=PrincipalType.choices)
    principal_id = models.CharField(
        max_length=64, blank=True, help_text="User id or role; empty = all of this kind."
    )
    level = models.CharField(max_length=7, choices=Level.choices, default=Level.READ)
    effect = models.CharField(max_length=5, choices=Effect.choices, default=Effect.ALLOW)
    max_execution_seconds = models.PositiveIntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", null=True, blank=True
    )

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="tool_permission_is_unique_per_principal_and_effect",
                fields=["team", "tool", "principal_type", "principal_id", "effect"],
            ),
            models.CheckConstraint(
                name="tool_permission_level_is_known", condition=Q(level__in=LEVELS)
            ),
            models.CheckConstraint(
                name="tool_permission_effect_is_known", condition=Q(effect__in=["allow", "deny"])
            ),
        ]

    def __str__(self) -> str:
        # The end of an id differs, its beginning is the hour it was made in.
        each = self.principal_id[-8:] if self.principal_id else "each"
        return f"{self.effect} {self.level} on {self.tool} to {self.principal_type} {each}"
