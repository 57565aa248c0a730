"""Gates: what a phase asks for, what there is, and in plain words what is missing.

Evidence is verified only if our own run observed it or a second person confirmed it. Length and
sections are judged on the stored bytes themselves, so their outcome is verified whoever sent them.
"""

from dataclasses import dataclass, field

from phases.gate_facts import Facts, inputs_digest
from phases.gate_judges import Criterion, judge
from phases.models import Phase, Ticket

__all__ = ["Criterion", "Evaluation", "evaluate", "inputs_digest"]


@dataclass(slots=True)
class Evaluation:
    """The outcome: status passed or failed, and which question decided it."""

    status: str
    evaluation: str
    criteria: list[Criterion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        unmet = [c.reason for c in self.criteria if c.required and not c.met and c.reason]
        return unmet if self.passed else [*unmet, *self.notes]

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def will_go_on(self) -> bool:
        """Whether what lacks comes by itself or by others: runs of ours, reviewers, answers."""
        waits = [c for c in self.criteria if c.required and c.waits_for]
        return self.evaluation == "waiting_checks" and any(
            c.check is None or c.check["state"] != "refused" for c in waits
        )


def evaluate(ticket: Ticket, phase: Phase | None = None) -> Evaluation:
    """Judge a phase's gate for a ticket; reads only. The first status that holds wins."""
    facts = Facts(ticket, phase or ticket.phase)
    criteria = [judge(facts, requirement) for requirement in facts.requirements]
    required = [c for c in criteria if c.required]
    if not criteria:
        return Evaluation("passed", "not_configured")
    if any(c.missing for c in required):
        return Evaluation("failed", "blocked", criteria)
    if any(c.kind == "tasks_completed" and not c.met for c in required):
        return Evaluation("failed", "waiting_tasks", criteria)
    if any(c.stale or c.waits_for for c in required):
        return Evaluation("failed", "waiting_checks", criteria)
    met = all(c.met for c in required)
    return Evaluation("passed" if met else "failed", "ready", criteria)
