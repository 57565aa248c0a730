"""Files: uploaded ones and those a run produced. The bytes live in PostgreSQL, in chunks."""

from django.db import models
from django.db.models import Q

from guardian.models.base import TeamQuerySet, TeamRow

CHUNK_BYTES = 1024 * 1024
TEAM_QUOTA_BYTES = 1024 * 1024 * 1024
MAX_FILE_BYTES = 20 * 1024 * 1024


class ToolArtifact(TeamRow):
    """A named file of a team: uploaded if it has no execution, else made by that run."""

    execution = models.ForeignKey(
        "tools.ToolExecution", models.CASCADE, related_name="artifacts", null=True, blank=True
    )
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100, default="application/octet-stream")
    size = models.PositiveBigIntegerField(help_text="bytes")
    sha256 = models.CharField(max_length=64)
    created_by = models.ForeignKey(
        "guardian.User", models.PROTECT, related_name="+", null=True, blank=True
    )

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="uploaded_file_has_one_id_per_team_and_content",
                fields=["team", "sha256"],
                condition=Q(execution=None),
            )
        ]
        indexes = [
            models.Index(name="artifact_by_content", fields=["sha256"]),
            models.Index(name="artifact_by_execution", fields=["execution"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:12]})"


class FileChunk(models.Model):
    """At most 1 MiB of a content, shared by every artifact with the same sha256."""

    sha256 = models.CharField(max_length=64)
    seq = models.PositiveSmallIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="file_chunk_seq_is_unique", fields=["sha256", "seq"])
        ]

    def __str__(self) -> str:
        return f"{self.sha256[:12]} #{self.seq}"
