"""One judge for each kind of requirement: how it stands, and in plain words why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from phases import gate_rules
from phases.gate_asks import SELF_EVIDENT
from phases.gate_facts import Facts
from phases.gate_kinds import CHECKS, Kind
from phases.models import GateRequirement, PhaseGateArtifact, Task

Source = PhaseGateArtifact.Source


@dataclass(slots=True)
class Criterion:
    """One requirement and how it stands: level is reported, verified or none.

    `waits_for` is check, review or answer where that is lacking; `check` says how a run of ours
    stands: {inputs, state: wanted, refused or done, code, needed, offered}.
    """

    key: str
    kind: str
    required: bool
    met: bool = False
    level: str = "none"
    stale: bool = False
    missing: bool = False
    reason: str = ""
    artifact_id: str | None = None
    artifact_type: str = ""
    artifact: dict[str, str] | None = None
    observer: str = ""
    observation: dict[str, Any] | None = None
    question: str = ""
    waits_for: str = ""
    check: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def shows(self, piece: PhaseGateArtifact) -> None:
        """Name the piece of evidence that counts, and who stands for it."""
        self.artifact_id, self.artifact_type = str(piece.pk), piece.artifact_type
        self.artifact = {
            "id": str(piece.pk),
            "artifact_type": piece.artifact_type,
            "path": piece.artifact_path,
            "sha256": piece.sha256,
        }
        self.observer = (piece.verified_by or piece.collected_by).name
        self.observation = piece.observation


def judge(facts: Facts, requirement: GateRequirement) -> Criterion:
    """How one requirement stands."""
    found = Criterion(requirement.key, requirement.kind, requirement.required)
    _JUDGES[requirement.kind](facts, requirement, found)
    return found


def _judge_tasks(facts: Facts, _requirement: GateRequirement, found: Criterion) -> None:
    ticket, phase = facts.ticket, facts.phase
    ignored = ["cancelled", "duplicated"]
    of_now = Task.objects.of_visit(ticket, phase).exclude(status__in=ignored)
    here = list(of_now.values_list("status", flat=True))
    still_open = Task.objects.still_open().filter(ticket=ticket)
    earlier = still_open.filter(phase__sequence_order__lt=phase.sequence_order).count()
    open_here = sum(status != "completed" for status in here)
    found.level = "verified"
    found.met = bool(here) and not open_here and not earlier
    if not here:
        found.reason = "No task of this phase exists yet."
    elif open_here:
        found.reason = f"{open_here} of {len(here)} tasks of this phase are not completed."
    elif earlier:
        found.reason = f"{earlier} tasks of earlier phases are still open."


def _judge_artifact(facts: Facts, requirement: GateRequirement, found: Criterion) -> None:
    kind = str(requirement.parameters.get("artifact_type", ""))
    rules: dict[str, Any] = requirement.parameters.get("rules", {})
    found.artifact_type = kind
    needs_own_run = requirement.parameters.get("observed") is True
    pattern = requirement.parameters.get("pattern")
    newest = facts.pieces.get((kind, ""))
    piece = facts.piece_at(kind, pattern) if pattern else newest
    if piece is None:
        found.missing = True
        found.reason = f"There is no {gate_rules.words(kind)} yet."
        if newest is not None:
            where = f"is {newest.artifact_path}" if newest.artifact_path else "has no path"
            found.reason = (
                f"There is no {gate_rules.words(kind)} at {pattern} yet: the newest {where}."
            )
        return
    faults = gate_rules.faults(rules, piece)
    if rule := requirement.parameters.get("unjudged"):
        faults.append(f"its rule “{rule}” is none that a gate can judge")
    self_evident = bool(rules) and set(rules) <= SELF_EVIDENT
    _weigh(found, requirement, piece, faults, self_evident=self_evident)
    if needs_own_run and piece.source != Source.SANDBOX:
        found.level, found.met = "reported", False
        if not found.stale and not faults:
            name = gate_rules.words(kind).capitalize()
            found.reason = f"{name}: only reported, it must come from our own run."


def _judge_metric(facts: Facts, requirement: GateRequirement, found: Criterion) -> None:
    """`type.figure` in the newest fresh piece of a type, or a figure in that of any type."""
    name = str(requirement.parameters["name"])
    kind, _, path = name.partition(".")
    piece = facts.pieces.get((kind, "")) if path else facts.figure_in_any(name)
    if piece is None:
        found.artifact_type = kind
        found.missing = True
        what = gate_rules.words(kind)
        found.reason = f"There is no {what} yet." if path else f"No evidence says {what} yet."
        return
    fault = gate_rules.fault_in_figure(
        piece.artifact_content,
        path or name,
        str(requirement.parameters["op"]),
        requirement.parameters["value"],
    )
    _weigh(found, requirement, piece, [fault] if fault else [])


def _weigh(
    found: Criterion,
    requirement: GateRequirement,
    piece: Any,
    faults: list[str],
    *,
    self_evident: bool = False,
) -> None:
    """What a piece is worth: fresh, without faults, and observed where that is asked for."""
    found.shows(piece)
    found.level = "verified" if piece.is_verified or self_evident else "reported"
    found.stale = not piece.is_fresh and piece.rejected_by is None
    if piece.rejected_by is not None:
        note = f": {piece.rejected_note}" if piece.rejected_note else "."
        found.level = "none"
        found.reason = f"The {gate_rules.words(piece.artifact_type)} was rejected by"
        found.reason += f" {piece.rejected_by.name}{note}"
        return
    enough = found.level == "verified" or requirement.min_evidence == "reported"
    found.met = not faults and enough and not found.stale
    name = gate_rules.words(piece.artifact_type)
    if found.stale:
        found.reason = f"The {name} is stale: it was made before the newest change."
    elif faults:
        texts = "; ".join(gate_rules.clause(fault) for fault in faults)
        found.reason = f"{name.capitalize()}: {texts}."
    elif not enough:
        found.reason = f"{name.capitalize()}: only reported, nobody has observed it."


def _judge_manual(facts: Facts, requirement: GateRequirement, found: Criterion) -> None:
    """Met by a person who had no part in the work and says yes."""
    found.question = str(requirement.parameters["question"])
    found.artifact_type = Kind.MANUAL.value
    piece = facts.pieces.get((Kind.MANUAL, requirement.key))
    asked = f"“{found.question}”"
    if piece is None or not piece.is_fresh:
        found.waits_for = "answer"
        if piece is not None:
            found.shows(piece)
            found.stale = True
            found.reason = f"{asked} was asked before the newest change."
        else:
            found.reason = f"{asked} is not answered yet."
        return
    found.shows(piece)
    said = piece.artifact_content if isinstance(piece.artifact_content, dict) else {}
    by = piece.verified_by
    if by is not None and by.kind == "human" and by.pk not in facts.authors:
        found.level, found.met = "verified", True
    elif said.get("answer") == "no":
        note = f": {said['note']}" if said.get("note") else "."
        found.level = "reported"
        found.reason = f"{asked} was answered with no by {said.get('answered_by')}{note}"
    elif by is not None:
        found.waits_for = "answer"
        found.reason = f"{asked} was answered by {by.name}, who did the work: another must."
    else:
        found.waits_for = "answer"
        found.reason = f"{asked} waits for a person who did not do the work."


def _judge_review(facts: Facts, requirement: GateRequirement, found: Criterion) -> None:
    needed = int(requirement.parameters.get("count", 1))
    reviewers, some_stale = facts.reviewers
    found.met = len(reviewers) >= needed
    found.level = "verified" if reviewers else "none"
    found.observer = ", ".join(sorted(reviewers.values()))
    if found.met:
        return
    found.waits_for, found.stale = "review", some_stale
    people = "one person" if needed == 1 else f"{needed} people"
    so_far = f"{len(reviewers)} so far" if reviewers else "nobody so far"
    before = "; an earlier one is of before the newest change" if some_stale else ""
    found.reason = f"Somebody other than its author must find it good: {people}, {so_far}{before}."


def _judge_check(facts: Facts, requirement: GateRequirement, found: Criterion) -> None:
    """Met by a run of ours that was about what is there now."""
    inputs = facts.check_inputs[requirement.key]
    what = gate_rules.said_of_check(requirement.kind, requirement.parameters)
    found.check = {"inputs": inputs, "state": "wanted"}
    found.artifact_type = str(requirement.kind)
    piece = facts.pieces.get((requirement.kind, requirement.key))
    if piece is None:
        found.waits_for = "check"
        found.reason = f"{what} was not tried yet; Lemnos does it by itself."
        return
    said = piece.artifact_content if isinstance(piece.artifact_content, dict) else {}
    if not piece.is_fresh:
        found.shows(piece)
        found.waits_for, found.stale = "check", True
        found.reason = f"{what} was tried before the newest change; Lemnos does it again by itself."
    elif piece.source == Source.SANDBOX:
        found.shows(piece)
        found.check["state"] = "done"
        found.level, found.met = "verified", said.get("passed") is True
        if not found.met:
            because = said.get("reason") or "it did not say why."
            is_run = requirement.kind in {Kind.COMMAND_SUCCESS, Kind.TESTS_PASS}
            found.reason = f"{what} failed: {because}" if is_run else str(because)
    else:
        found.waits_for = "check"
        refused = said.get("refused")
        refusal = refused if isinstance(refused, dict) else {}
        found.check |= {"state": "refused", **refusal}
        found.reason = (
            f"{what} could not be tried ({refusal.get('code')}): {refusal.get('message')}"
        )


_JUDGES: dict[str, Callable[[Facts, GateRequirement, Criterion], None]] = {
    Kind.TASKS_COMPLETED: _judge_tasks,
    Kind.ARTIFACT: _judge_artifact,
    Kind.METRIC: _judge_metric,
    Kind.MANUAL: _judge_manual,
    Kind.REVIEW: _judge_review,
    **dict.fromkeys(CHECKS, _judge_check),
}
