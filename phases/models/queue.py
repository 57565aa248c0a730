"""What makes work claimable: the narrow queue, and what a task waits for."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from guardian.models import TeamQuerySet, TeamRow
from phases.models.task import Task
from phases.models.ticket import Ticket


class ReadyTask(models.Model):
    """The narrow queue: one row for each task that may be claimed now, nothing else.

    Everything a claim orders or filters by is here, so a claim reads neither history nor
    blocked work. Kept by `phases.claims.refresh`.
    """

    task = models.OneToOneField(Task, models.CASCADE, primary_key=True, related_name="ready")
    team = models.ForeignKey("guardian.Team", models.CASCADE, db_index=False)
    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="+")
    # All of them as one text, by which equal needs are found: 20 of 64 characters fit the index.
    capability_key = models.TextField()
    capabilities = ArrayField(models.CharField(max_length=64))
    priority = models.PositiveSmallIntegerField()
    ready_at = models.DateTimeField()
    not_before = models.DateTimeField()
    deadline = models.DateTimeField(null=True)
    rework = models.BooleanField(default=False)
    has_locks = models.BooleanField(default=False)
    # Parts of the score that would else be read from other tables, for each row at each claim:
    # how many tasks wait for this one, and the share of tries that is left.
    blockers = models.PositiveIntegerField(default=0, db_default=0)
    retry_left = models.FloatField(default=1, db_default=1)
    # Sent back by a review: who did it first has it alone until then.
    reserved_for = models.UUIDField(null=True, blank=True)
    reserved_until = models.DateTimeField(null=True, blank=True)
    # Weights of its workflow's score, in the order of `scoring.Weights`; null: those of Lemnos.
    weights = ArrayField(models.FloatField(), null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                name="ready_heads", fields=["team", "capability_key", "priority", "ready_at"]
            ),
            # Few have one: the nearest are found without reading the others.
            models.Index(
                name="ready_deadlines",
                fields=["team", "capability_key", "deadline"],
                condition=Q(deadline__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"ready: {self.task_id}"


class TaskDependency(TeamRow):
    """One task waits for another."""

    task = models.ForeignKey(Task, models.CASCADE, related_name="dependencies", db_index=False)
    depends_on = models.ForeignKey(Task, models.CASCADE, related_name="dependents")
    satisfied = models.BooleanField(default=False)

    objects = TeamQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "task dependencies"
        constraints = [
            models.UniqueConstraint(
                name="dependency_pair_is_unique", fields=["task", "depends_on"]
            ),
            models.CheckConstraint(
                name="task_never_depends_on_itself", condition=~Q(task=F("depends_on"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task_id} waits for {self.depends_on_id}"
