"""A memory: text with its provenance, its trust and its life."""

from typing import Self
from uuid import UUID

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin, transition

from guardian.models.base import TeamQuerySet, TeamRow

EDGES = [("quarantined", "active"), ("active", "revoked"), ("quarantined", "revoked")]
LIVE = ("active", "quarantined")


class MemoryRecordQuerySet(TeamQuerySet):
    def readable_by(self, user_id: UUID) -> Self:
        return self.filter(Q(visibility="team") | Q(owner_id=user_id))

    def live(self) -> Self:
        return self.filter(state__in=LIVE)

    def waiting_for_embedding(self) -> Self:
        return self.filter(embedding_state="pending").order_by("id")


class MemoryRecord(FSMModelMixin, TeamRow):
    """One thing that is known: who wrote it, from which work, and how far it is trusted."""

    class Kind(models.TextChoices):
        TASK = "task"
        ERROR_FIX = "error_fix"
        DISCOVERY = "discovery"
        DECISION = "decision"
        LEARNING = "learning"
        WARNING = "warning"
        KNOWLEDGE = "knowledge"
        NOTE = "note"

    class MemoryType(models.TextChoices):
        LONG_TERM = "long_term"
        EPISODIC = "episodic"
        SEMANTIC = "semantic"

    class Visibility(models.TextChoices):
        PRIVATE = "private"
        TEAM = "team"

    class State(models.TextChoices):
        ACTIVE = "active"
        QUARANTINED = "quarantined"
        REVOKED = "revoked"

    class EmbeddingState(models.TextChoices):
        PENDING = "pending"
        READY = "ready"

    owner = models.ForeignKey("guardian.User", models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.NOTE)
    memory_type = models.CharField(
        max_length=10, choices=MemoryType.choices, default=MemoryType.LONG_TERM
    )
    title = models.CharField(max_length=200)
    text = models.TextField()
    summary = models.CharField(max_length=200, blank=True)
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    # SHA-256 of the text in NFC, case-folded, white space collapsed.
    content_hash = models.CharField(max_length=64, editable=False)
    visibility = models.CharField(max_length=7, choices=Visibility.choices, default=Visibility.TEAM)

    trust = models.FloatField(help_text="From 0 to 1; searches leave out what is below 0.5.")
    state = FSMField(choices=State.choices, default=State.ACTIVE, protected=True, max_length=12)

    # Provenance: plain ids, because memory does not know tickets or runs.
    ticket_id = models.UUIDField(null=True, blank=True)
    task_id = models.UUIDField(null=True, blank=True)
    run_id = models.UUIDField(null=True, blank=True)
    phase_id = models.UUIDField(null=True, blank=True)
    evidence = models.JSONField(default=list, blank=True, help_text="[{label, id, sha256}]")

    task_type = models.CharField(max_length=100, blank=True)
    success = models.BooleanField(null=True, blank=True)
    error_patterns = models.JSONField(
        default=list, blank=True, help_text="[{fingerprint, type, message}]"
    )

    reuse_count = models.PositiveIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)
    search = models.GeneratedField(
        expression=SearchVector("title", weight="A", config="english")
        + SearchVector("summary", weight="B", config="english")
        + SearchVector("text", weight="C", config="english"),
        output_field=SearchVectorField(),
        db_persist=True,
    )
    embedding_state = models.CharField(
        max_length=8, choices=EmbeddingState.choices, default=EmbeddingState.PENDING
    )

    objects = MemoryRecordQuerySet.as_manager()

    class Meta:
        constraints = [
            # Delivered twice or raced, the work of one run on one task is remembered once.
            models.UniqueConstraint(
                name="record_of_a_task_is_one_per_run",
                fields=["team", "task_id", "run_id"],
                condition=Q(kind="task"),
                nulls_distinct=False,
            ),
            # The second writer of the same text gets the first one's record.
            models.UniqueConstraint(
                name="record_text_is_one_per_owner_while_live",
                fields=["team", "owner", "content_hash"],
                condition=~Q(kind="task") & Q(state__in=LIVE),
            ),
            models.CheckConstraint(
                name="record_trust_is_between_0_and_1", condition=Q(trust__gte=0, trust__lte=1)
            ),
            models.CheckConstraint(
                name="record_names_its_task_and_outcome_when_it_is_of_a_task",
                condition=~Q(kind="task") | Q(task_id__isnull=False, success__isnull=False),
            ),
            models.CheckConstraint(name="record_has_text", condition=~Q(text="") & ~Q(title="")),
            models.CheckConstraint(
                name="record_visibility_is_known", condition=Q(visibility__in=["private", "team"])
            ),
        ]
        indexes = [
            GinIndex(name="record_words", fields=["search"]),
            models.Index(name="record_of_team", fields=["team", "-id"]),
            models.Index(name="record_of_ticket", fields=["ticket_id"]),
            models.Index(
                name="record_unembedded", fields=["id"], condition=Q(embedding_state="pending")
            ),
        ]
        triggers = [
            pgtrigger.FSM(name="record_state_edges", field="state", transitions=EDGES),
            pgtrigger.Trigger(
                name="record_starts_active_or_quarantined",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__state="revoked"),
                func="RAISE EXCEPTION 'a memory starts active or quarantined'"
                " USING ERRCODE = 'check_violation';",
            ),
            # What was found, cited and hashed stays as it was; a correction is a new record.
            pgtrigger.Trigger(
                name="record_text_is_never_edited",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__text__df=pgtrigger.F("new__text")),
                func="RAISE EXCEPTION 'the text of a memory is never edited'"
                " USING ERRCODE = 'restrict_violation';",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.pk})"

    @property
    def document(self) -> str:
        """What is embedded: the text, led by the title where it adds something."""
        if self.text.startswith(self.title.removesuffix("…")):
            return self.text
        return f"{self.title}\n{self.text}"

    @transition(state, State.QUARANTINED, State.ACTIVE)
    def approve(self) -> None:
        """A person vouches for it."""
        self.trust = 0.8

    @transition(state, [State.ACTIVE, State.QUARANTINED], State.REVOKED)
    def revoke(self) -> None:
        """It turned out wrong or was rejected; no search finds it any more."""
