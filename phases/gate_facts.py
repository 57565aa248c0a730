"""What a gate judges by: the evidence of a ticket that counts, in few queries of any size."""

import hashlib
import json
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

from guardian.authority import MONITOR
from guardian.models import Membership
from phases.gate_asks import SELF_EVIDENT, path_expression, requirements_of
from phases.gate_kinds import BY_KEY, CHECKS, Kind
from phases.models import GateRequirement, Phase, PhaseGateArtifact, Review, Task, Ticket

Source = PhaseGateArtifact.Source
CODE = "code_changes"


class Facts:
    """A ticket's evidence for a phase; each part is read once, and only where it is asked for."""

    def __init__(self, ticket: Ticket, phase: Phase) -> None:
        self.ticket, self.phase = ticket, phase
        self.requirements = requirements_of(phase)

    @cached_property
    def code(self) -> PhaseGateArtifact | None:
        """The newest change of the code, without its content."""
        rows = code_of(self.ticket).defer("artifact_content")
        return rows.order_by("-recorded_at", "-id").first()

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

        Fresh before stale, what our own run saw before what somebody said, then the newest: whoever
        speaks last does not outweigh our run, and a confirmed piece not a newer one.
        """
        types = {*self._types(Kind.ARTIFACT), *self._types(Kind.METRIC)}
        keyed = [r for r in self.requirements if r.kind in BY_KEY]
        wanted = Q(artifact_type__in=types)
        if keyed:
            wanted |= Q(artifact_type__in=BY_KEY, artifact_path__in=[r.key for r in keyed])
        rows = self._weighed().filter(wanted)
        slot = Case(
            When(artifact_type__in=BY_KEY, then=F("artifact_path")),
            default=Value(""),
            output_field=CharField(),
        )
        rows = rows.annotate(slot=slot).order_by("artifact_type", "slot", *_WEIGHT)
        return {(a.artifact_type, a.slot): a for a in rows.distinct("artifact_type", "slot")}

    def piece_at(self, kind: str, pattern: str) -> Any:
        """As `pieces`, among those of a type whose path is one of a pattern."""
        rows = self._weighed().filter(artifact_type=kind).exclude(artifact_path="")
        there = rows.filter(artifact_path__regex=path_expression(pattern))
        return there.order_by(*_WEIGHT).first()

    def figure_in_any(self, name: str) -> Any:
        """The piece that counts among the newest of every type that have a figure of this name."""
        newest = (
            self._weighed()
            .exclude(artifact_type__in=BY_KEY)
            .annotate(says=Case(When(artifact_content__has_key=name, then=1), default=0))
            .order_by("artifact_type", *_WEIGHT)
            .distinct("artifact_type")
            .defer("artifact_content")
        )
        found = [piece for piece in newest if piece.says]
        return max(
            found, default=None, key=lambda a: (a.is_fresh, a.is_verified, a.recorded_at, a.pk)
        )

    def is_fresh(self, artifact: PhaseGateArtifact) -> bool:
        """Whether a piece of this phase's evidence is about what is there now."""
        return self._weighed().filter(pk=artifact.pk, is_fresh=True).exists()

    def is_before_newest_code(self, artifact: PhaseGateArtifact) -> bool:
        return self.changed_at is not None and artifact.recorded_at < self.changed_at

    @cached_property
    def authors(self) -> set[UUID]:
        """Whoever did the phase's work in this visit: they do not judge it."""
        return authors_of(Task.objects.of_visit(self.ticket, self.phase))

    @cached_property
    def reviewers(self) -> tuple[dict[UUID, str], bool]:
        """Others who found this visit's work good: (id → name, whether some are stale).

        Each person once; agents of the level that confirms evidence; nobody who did some of it.
        """
        fresh: dict[UUID, str] = {}
        stale = False
        changes = self._code_by_task() if self.changed_at else {}
        passed = (
            Review.objects.filter(status=Review.Status.PASSED)
            .filter(task__in=Task.objects.of_visit(self.ticket, self.phase))
            .filter(_may_judge(self.ticket.team_id))
            .exclude(reviewer__in=self.authors)
        )
        for review in passed.select_related("reviewer").order_by("id"):
            # What its own task handed in was before the reviewer's eyes.
            since = [at for task, at in changes.items() if task != review.task_id]
            if review.reviewer and all(at <= review.updated_at for at in since):
                fresh[review.reviewer.pk] = review.reviewer.name
            else:
                stale = True
        confirmed = (
            self._weighed()
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
        rows = code_of(self.ticket).values_list("task")
        return dict(rows.annotate(at=Max("recorded_at")).order_by())

    def _types(self, kind: str) -> set[str]:
        """The artifact types that requirements of this kind name."""
        asked = [r.parameters for r in self.requirements if r.kind == kind]
        if kind == Kind.METRIC:
            names = [str(p.get("name", "")) for p in asked]
            return {name.partition(".")[0] for name in names if "." in name}
        return {str(p.get("artifact_type", "")) for p in asked}

    def _weighed(self) -> QuerySet[Any]:
        """This phase's evidence with `is_fresh` and `is_observed`."""
        # Of a question put up twice the one that was answered counts.
        observed = Q(source=Source.SANDBOX) | Q(artifact_type=Kind.MANUAL, source=Source.REVIEWER)
        fresh = Q(visit=self.ticket.visit, rejected_by=None)
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
            .select_related("collected_by", "verified_by", "rejected_by")
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


def authors_of(tasks: QuerySet[Task]) -> set[UUID]:
    """Whoever holds these tasks, held them last, or handed in an earlier round of theirs."""
    pairs = tasks.values_list("holder", "last_holder")
    found = {user for pair in pairs for user in pair if user}
    return found | set(Review.objects.filter(task__in=tasks).values_list("author", flat=True))


def _may_judge(team_id: UUID) -> Q:
    """A reviewer who is a person, or an agent that may confirm evidence."""
    agents = Membership.objects.filter(team_id=team_id, authority__gte=MONITOR)
    return Q(reviewer__kind="human") | Q(reviewer__in=agents.values("user"))


def code_of(ticket: Ticket) -> QuerySet[PhaseGateArtifact]:
    """The changes of the code that are about what the ticket is about now."""
    rows = PhaseGateArtifact.objects.filter(ticket=ticket, artifact_type=CODE)
    return rows.filter(visit__gte=ticket.fresh_from_visit)


def source_of(ticket: Ticket) -> tuple[Any, str]:
    """What a gate's run looks at, and why it looks at nothing: the newest code that names a file,
    else what the ticket is about.

    A source that the workflow does not ask for was checked by nobody, and whoever has a part in
    the ticket may set it: there it is a file of the team, as code is, never Lemnos's own tree.
    """
    named = code_of(ticket).filter(artifact_content__has_key="file_id")
    newest = named.order_by("-recorded_at", "-id")
    file_id = newest.values_list("artifact_content__file_id", flat=True).first()
    if file_id is not None:
        return {"kind": "archive", "file_id": file_id}, ""
    source = ticket.context.get("source")
    kind = source.get("kind") if isinstance(source, dict) else None
    if source is None or kind == "archive" or ticket.workflow.asks_source:
        return source, ""
    return None, "must be an archive where the workflow does not ask for a source itself"


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
        [ticket.context.get("source"), ticket.workflow.asks_source],
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
        .values_list("id", "sha256", "source", "verified_by", "rejected_by", "visit", "recorded_at")
    )
    facts = [
        ticket.visit,
        [ticket.context.get("source"), ticket.workflow.asks_source],
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
