"""What a gate judges by: the evidence of a ticket that counts, in few queries of any size."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)

from phases.gate_kinds import BY_KEY, CHECKS, Kind
from phases.models import GateRequirement, Phase, PhaseGateArtifact, Review, Task, Ticket

Source = PhaseGateArtifact.Source
CODE = "code_changes"
# Rules that read the stored content itself and need nobody's word.
SELF_EVIDENT = {"min_length", "sections"}


class Facts:
    """A ticket's evidence for a phase; each part is read once, and only where it is asked for."""

    def __init__(self, ticket: Ticket, phase: Phase) -> None:
        self.ticket, self.phase = ticket, phase
        self.requirements = requirements_of(phase)

    @cached_property
    def code(self) -> PhaseGateArtifact | None:
        """The newest change of the code, without its content."""
        rows = PhaseGateArtifact.objects.filter(ticket=self.ticket, artifact_type=CODE)
        return rows.defer("artifact_content").order_by("-recorded_at", "-id").first()

    @property
    def changed_at(self) -> datetime | None:
        return self.code.recorded_at if self.code else None

    @cached_property
    def check_inputs(self) -> dict[str, str]:
        """Per requirement that our own runs answer: what its answer is about, as SHA-256."""
        return {
            r.key: check_digest(self.ticket, self.phase, r, self.code)
            for r in self.requirements
            if r.kind in CHECKS
        }

    @cached_property
    def pieces(self) -> dict[tuple[str, str], Any]:
        """Of each type (for some kinds: and key) the piece that counts: (type, slot) → it.

        Fresh before stale, observed before said, then the newest. Else whoever speaks last would
        outweigh what our own run has seen. Each carries `is_fresh`.
        """
        types = {*self._types(Kind.ARTIFACT), *self._types(Kind.METRIC)}
        keyed = [r for r in self.requirements if r.kind in BY_KEY]
        wanted = Q(artifact_type__in=types)
        if keyed:
            wanted |= Q(artifact_type__in=BY_KEY, artifact_path__in=[r.key for r in keyed])
        rows = self._weighed(~Q(source=Source.REPORTED)).filter(wanted)
        slot = Case(
            When(artifact_type__in=BY_KEY, then=F("artifact_path")),
            default=Value(""),
            output_field=CharField(),
        )
        rows = rows.annotate(slot=slot).order_by("artifact_type", "slot", *_WEIGHT)
        return {(a.artifact_type, a.slot): a for a in rows.distinct("artifact_type", "slot")}

    @cached_property
    def own_pieces(self) -> dict[str, Any]:
        """As `pieces`, where only what our own runs observed is worth more than what is said."""
        rows = self._weighed(Q(source=Source.SANDBOX))
        rows = rows.filter(artifact_type__in=self._types(Kind.ARTIFACT))
        found = rows.order_by("artifact_type", *_WEIGHT).distinct("artifact_type")
        return {a.artifact_type: a for a in found}

    def figure_in_any(self, name: str) -> Any:
        """The piece that counts among all whose content has a figure of this name."""
        rows = self._weighed(~Q(source=Source.REPORTED)).filter(artifact_content__has_key=name)
        return rows.exclude(artifact_type__in=BY_KEY).order_by(*_WEIGHT).first()

    @cached_property
    def authors(self) -> set[UUID]:
        """Whoever did the phase's work in this visit: they do not judge it."""
        rows = Task.objects.of_visit(self.ticket, self.phase)
        return {user for pair in rows.values_list("holder", "last_holder") for user in pair if user}

    @cached_property
    def reviewers(self) -> tuple[dict[UUID, str], bool]:
        """Others who found this visit's work good: (id → name, whether some are stale)."""
        fresh: dict[UUID, str] = {}
        stale = False
        changes = self._code_by_task() if self.changed_at else {}
        passed = Review.objects.filter(status=Review.Status.PASSED).exclude(reviewer=F("author"))
        here = Task.objects.of_visit(self.ticket, self.phase)
        for review in passed.filter(task__in=here).select_related("reviewer").order_by("id"):
            # What its own task handed in was before the reviewer's eyes.
            since = [at for task, at in changes.items() if task != review.task_id]
            if review.reviewer and all(at <= review.updated_at for at in since):
                fresh[review.reviewer.pk] = review.reviewer.name
            else:
                stale = True
        confirmed = (
            self._weighed(~Q(source=Source.REPORTED))
            .filter(verified_by__isnull=False)
            .exclude(artifact_type__in=BY_KEY)
            .exclude(verified_by__in=self.authors)
            .order_by("verified_by", "-is_fresh")
            .distinct("verified_by")
        )
        for piece in confirmed.defer("artifact_content"):
            if piece.is_fresh and piece.verified_by:
                fresh[piece.verified_by.pk] = piece.verified_by.name
            else:
                stale = True
        return fresh, stale

    def _code_by_task(self) -> dict[UUID | None, datetime]:
        rows = PhaseGateArtifact.objects.filter(ticket=self.ticket, artifact_type=CODE)
        return dict(rows.values_list("task").annotate(at=Max("recorded_at")).order_by())

    def _types(self, kind: str) -> set[str]:
        """The artifact types that requirements of this kind name."""
        asked = [r.parameters for r in self.requirements if r.kind == kind]
        if kind == Kind.METRIC:
            names = [str(p.get("name", "")) for p in asked]
            return {name.partition(".")[0] for name in names if "." in name}
        return {str(p.get("artifact_type", "")) for p in asked}

    def _weighed(self, observed: Q) -> QuerySet[Any]:
        """This phase's evidence with `is_fresh` and `is_observed`."""
        fresh = Q(visit=self.ticket.visit)
        if self.changed_at is not None:
            lasting = Q(recorded_at__gte=self.changed_at) | Q(artifact_type__in=self._lasting())
            fresh &= lasting
        questions = [r.parameters["question"] for r in self.requirements if r.kind == Kind.MANUAL]
        if questions:
            fresh &= ~Q(artifact_type=Kind.MANUAL) | Q(artifact_content__question__in=questions)
        if self.check_inputs:
            fresh &= ~Q(artifact_type__in=CHECKS) | Q(
                artifact_content__inputs__in=list(self.check_inputs.values())
            )
        return (
            PhaseGateArtifact.objects.filter(ticket=self.ticket, phase=self.phase)
            .annotate(
                is_fresh=Case(
                    When(fresh, then=Value(True)),  # noqa: FBT003  a value of the database
                    default=Value(False),  # noqa: FBT003  as above
                    output_field=BooleanField(),
                ),
                is_observed=ExpressionWrapper(observed, BooleanField()),
            )
            .select_related("collected_by", "verified_by")
        )

    def _lasting(self) -> set[str]:
        """Types that newer code makes no staler: the code itself, and texts judged as such.

        A run in our sandbox names the code it was about in its inputs.
        """
        asked = [r for r in self.requirements if r.kind == Kind.ARTIFACT]
        measured = {r.parameters["artifact_type"] for r in asked if not _is_text(r)}
        texts = {r.parameters["artifact_type"] for r in asked if _is_text(r)}
        return {CODE, *CHECKS, *(texts - measured - self._types(Kind.METRIC))}


_WEIGHT = ("-is_fresh", "-is_observed", "-recorded_at", "-id")


def _is_text(requirement: GateRequirement) -> bool:
    rules = requirement.parameters.get("rules") or {}
    return bool(rules) and set(rules) <= SELF_EVIDENT


def requirements_of(phase: Phase) -> list[GateRequirement]:
    """The gate's rows, each required output that none asks for, each unproved done definition."""
    rows = list(phase.requirements.order_by("created_at", "id"))
    asked = {str(r.parameters.get("artifact_type")) for r in rows if r.kind == Kind.ARTIFACT}
    rows.extend(
        GateRequirement(
            key=f"output_{output['type']}",
            kind=Kind.ARTIFACT.value,
            parameters={"artifact_type": output["type"], "rules": {"present": True}},
            min_evidence="reported",
        )
        for output in phase.expected_outputs
        if output.get("required", True) and output["type"] not in asked
    )
    proofs = set(_proofs(rows))
    rows.extend(
        GateRequirement(
            key=f"done_{definition['key']}",
            kind=Kind.MANUAL.value,
            parameters={"question": definition["text"]},
        )
        for definition in phase.done_definitions
        if definition.get("required", True) and definition.get("proved_by") not in proofs
    )
    return rows


def _proofs(rows: Iterable[GateRequirement]) -> Iterable[str]:
    """What a done definition may name as its proof: a requirement, or a type one asks for."""
    for row in rows:
        yield row.key
        if row.kind == Kind.ARTIFACT:
            yield str(row.parameters.get("artifact_type"))
        elif row.kind == Kind.METRIC:
            yield str(row.parameters.get("name")).partition(".")[0]


def asks_something(phase: Phase) -> bool:
    """Whether a phase has a gate at all, by what is at hand: its rows are asked for last."""
    outputs = any(output.get("required", True) for output in phase.expected_outputs)
    definitions = any(d.get("required", True) for d in phase.done_definitions)
    return outputs or definitions or phase.requirements.exists()


def check_digest(
    ticket: Ticket, phase: Phase, requirement: GateRequirement, code: PhaseGateArtifact | None
) -> str:
    """What a check is about: the requirement as it stands, the visit, the code, the source."""
    change = [str(code.pk), code.sha256, code.recorded_at.isoformat()] if code else None
    about = [
        str(ticket.pk),
        ticket.visit,
        phase.key,
        [requirement.key, requirement.kind, requirement.parameters],
        change,
        ticket.context.get("source"),
    ]
    return hashlib.sha256(_canonical(about).encode()).hexdigest()


def inputs_digest(ticket: Ticket, phase: Phase) -> str:
    """SHA-256 over all that an evaluation reads: the same digest, the same outcome.

    Asked before an evaluation and again under the ticket's lock, it shows what changed between.
    """
    asked = phase.requirements.order_by("id").values_list(
        "id", "key", "kind", "required", "min_evidence", "parameters"
    )
    tasks = Task.objects.filter(ticket=ticket).order_by("id")
    states = tasks.values_list("id", "phase", "status", "visit", "holder", "last_holder")
    reviews = Review.objects.filter(Exists(tasks.filter(pk=OuterRef("task"))))
    evidence = (
        PhaseGateArtifact.objects.filter(Q(phase=phase) | Q(artifact_type=CODE))
        .filter(ticket=ticket)
        .order_by("id")
        .values_list("id", "sha256", "source", "verified_by", "visit", "recorded_at")
    )
    facts = [
        ticket.visit,
        ticket.context.get("source"),
        phase.expected_outputs,
        phase.done_definitions,
        list(asked),
        list(states),
        list(reviews.order_by("id").values_list("id", "status", "updated_at")),
        list(evidence),
    ]
    return hashlib.sha256(_canonical(facts).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, cls=DjangoJSONEncoder)
