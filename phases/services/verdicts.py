"""What others say of evidence: that it is so or not, and the answers to a gate's questions."""

from uuid import UUID

from django.db import transaction

from guardian.authority import MONITOR, Actor, require_level
from guardian.errors import Forbidden, Invalid, NotFound, SelfReview
from phases.clock import database_now
from phases.gate_facts import Facts, authors_of
from phases.gate_kinds import CHECKS, Kind
from phases.models import PhaseGateArtifact, Task
from phases.results import reserved_type
from phases.services.evidence import digest, tell


@transaction.atomic
def verify_artifact(
    *, actor: Actor, ticket_id: UUID, artifact_id: UUID, confirm: bool, note: str = ""
) -> PhaseGateArtifact:
    """A second person confirms or rejects what somebody reported; agents need level 3 for it.

    What was rejected counts for no gate until somebody confirms it, or newer code brings it anew.
    Not who handed it in, nor who did the phase's work in that visit, whoever handed it in. A gate's
    question is answered so too, yes or no with a `note`, by a person.
    Raises NotFound, SelfReview, AuthorityTooLow, Forbidden, Invalid.
    """
    if not actor.is_human:
        require_level(actor, MONITOR)
    artifact = (
        PhaseGateArtifact.objects.select_for_update(of=("self",))
        .select_related("ticket", "phase")
        .filter(pk=artifact_id, ticket_id=ticket_id, team=actor.team)
        .first()
    )
    if artifact is None:
        raise NotFound("There is no such artifact.")
    if artifact.collected_by_id == actor.id:
        raise SelfReview
    if artifact.artifact_type in CHECKS:
        raise Invalid(path="verdict", reason=reserved_type(artifact.artifact_type))
    if artifact.artifact_type == Kind.MANUAL:
        return _answer(artifact, actor, confirm=confirm, note=note)
    work = Task.objects.filter(
        ticket=artifact.ticket_id, phase=artifact.phase_id, visit=artifact.visit
    )
    if actor.id in authors_of(work):
        raise SelfReview("Who did this phase's work does not confirm it: another must.")
    _give_verdict(artifact, actor, confirm=confirm, note=note)
    return artifact


def _give_verdict(artifact: PhaseGateArtifact, actor: Actor, *, confirm: bool, note: str) -> None:
    is_observed = artifact.source == PhaseGateArtifact.Source.SANDBOX
    if confirm and is_observed and artifact.rejected_by_id is None:
        return
    if not is_observed:
        artifact.source = (
            PhaseGateArtifact.Source.REVIEWER if confirm else PhaseGateArtifact.Source.REPORTED
        )
        artifact.verified_by = actor.user if confirm else None
    artifact.rejected_by = None if confirm else actor.user
    artifact.rejected_note = "" if confirm else note
    artifact.save(
        update_fields=["source", "verified_by", "rejected_by", "rejected_note", "updated_at"]
    )
    tell(artifact, actor)


def _answer(
    artifact: PhaseGateArtifact, actor: Actor, *, confirm: bool, note: str
) -> PhaseGateArtifact:
    """Keep a person's yes or no beside the question; another person may say otherwise later."""
    if not actor.is_human:
        raise Forbidden("Only a person answers a gate's question.")
    if actor.id in Facts(artifact.ticket, artifact.phase).authors:
        raise SelfReview("Who did this phase's work does not answer for it: another person must.")
    content = artifact.artifact_content if isinstance(artifact.artifact_content, dict) else {}
    artifact.artifact_content = {
        **content,
        "answer": "yes" if confirm else "no",
        "note": note,
        "answered_by": actor.name,
        "answered_at": database_now().isoformat(),
    }
    artifact.sha256 = digest(artifact.artifact_content)
    artifact.source = (
        PhaseGateArtifact.Source.REVIEWER if confirm else PhaseGateArtifact.Source.REPORTED
    )
    artifact.verified_by = actor.user if confirm else None
    artifact.save(
        update_fields=["artifact_content", "sha256", "source", "verified_by", "updated_at"]
    )
    tell(artifact, actor)
    return artifact
