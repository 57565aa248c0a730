"""The vectors of a memory, one for each part of its text and each model."""

from django.db import models
from django.db.models import Q
from pgvector.django import HalfVectorField, HnswIndex

from guardian.models.base import TeamQuerySet, TeamRow


class MemoryEmbedding(TeamRow):
    """Where one part of a memory's text lies in the space of one model."""

    record = models.ForeignKey(
        "memory.MemoryRecord", models.CASCADE, related_name="embeddings", db_index=False
    )
    part_no = models.PositiveSmallIntegerField()
    start = models.PositiveIntegerField(help_text="Characters before this part.")
    length = models.PositiveIntegerField(help_text="Characters.")
    text_sha256 = models.CharField(max_length=64)
    model = models.CharField(max_length=100)
    dimension = models.PositiveSmallIntegerField()
    # (384,) half floats, norm 1. A model of another dimension gets a column of its own.
    v384 = HalfVectorField(dimensions=384, null=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="embedding_is_one_per_record_model_and_part",
                fields=["record", "model", "part_no"],
            ),
            models.CheckConstraint(
                name="embedding_has_the_vector_of_its_dimension",
                condition=Q(dimension=384, v384__isnull=False),
            ),
        ]
        indexes = [
            HnswIndex(
                name="embedding_near_v384",
                fields=["v384"],
                opclasses=["halfvec_cosine_ops"],
                m=16,
                ef_construction=128,
            ),
            models.Index(name="embedding_of_text", fields=["team", "text_sha256", "model"]),
        ]

    def __str__(self) -> str:
        return f"part {self.part_no} of {self.record_id} by {self.model}"
