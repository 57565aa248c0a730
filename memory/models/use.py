"""Which run was shown which memory, so that a revocation can name the runs."""

from django.db import models

from guardian.models.base import TeamQuerySet, TeamRow


class MemoryUse(TeamRow):
    """One memory, put before one run."""

    record = models.ForeignKey(
        "memory.MemoryRecord", models.CASCADE, related_name="uses", db_index=False
    )
    run_id = models.UUIDField()
    task_id = models.UUIDField()
    rank = models.PositiveSmallIntegerField(help_text="1 is the most similar.")
    cited = models.BooleanField(default=False)
    used_at = models.DateTimeField()

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="use_is_one_per_record_and_run", fields=["record", "run_id"]
            )
        ]
        indexes = [models.Index(name="use_of_run", fields=["run_id"])]

    def __str__(self) -> str:
        return f"{self.record_id} in run {self.run_id}"
