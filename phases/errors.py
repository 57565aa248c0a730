"""Refusals of phases."""

from typing import Any

from guardian.errors import DomainError, Forbidden, IllegalTransition, Invalid, QuotaExceeded


class GateNotPassed(DomainError):
    """The gate of this phase is not passed yet."""

    code = "gate_not_passed"
    remedy = "Provide the missing evidence, then move again."


class GateInputsChanged(GateNotPassed):
    """The evidence or tasks of this ticket changed while its gate was asked."""

    remedy = "Move again: the gate is then asked about what is there now."


class PhaseInUse(DomainError):
    """Tickets in this phase hold answers that would stand for nothing any more."""

    code = "phase_in_use"
    remedy = "Make it optional instead (required: false), or wait until these tickets moved on."
    example = {"tickets": [12]}


class RequirementExists(DomainError):
    """The gate of this phase has a requirement of this key already."""

    code = "requirement_exists"
    remedy = "Change that one, or choose another key."


class WorkflowConflict(DomainError):
    """What stays of this workflow and what the text brings do not go together."""

    code = "workflow_conflict"
    remedy = "Correct the places it names, or move the tickets that hold the old phases first."
    example = {"refused": [{"path": "phases.PHASE_DESIGN", "reason": "1 ticket", "tickets": 1}]}


class WorkflowChanged(DomainError):
    """The workflow or its tickets changed since the dry run: an import would do something else."""

    code = "digest_changed"
    remedy = "Ask for a dry run again, and send the digest it answers."
    example = {"digest": "9f86d081884c7d659a2feaa0c55ad015"}


class ApprovalRequired(DomainError):
    """This ticket is not approved: it stays where it is until somebody else lets it begin."""

    code = "approval_required"
    remedy = "Have a person other than its author approve it: POST /api/v1/tickets/{id}/approve."
    example = {"approval_status": "pending_review"}


class ApprovedText(DomainError):
    """This ticket was approved with the title, description and context that it has."""

    code = "approved_text"
    remedy = (
        "Have a person who may approve it change that, or open a new ticket; priority, deadline,"
        " labels and assignee may change."
    )
    example = {"path": "description"}


class NoResultWanted(DomainError):
    """The workflow of this ticket looks for no result."""

    code = "no_result_wanted"
    remedy = "Complete your task with what you found; or let its workflow say `has_result: true`."


class SpawnLimit(DomainError):
    """Discoveries may not make more tasks here; nothing was stored."""

    code = "spawn_limit"
    remedy = (
        "Record it without `spawn`, and have a person decide: they may plan a task, or raise the"
        " limits of the workflow."
    )
    example = {"limit": "discovery_depth", "most": 5, "now": 5}


class WipExceeded(DomainError):
    """The column is full."""

    code = "wip_exceeded"
    remedy = "Wait until a place is free, or queue the ticket."


class OpenTasks(DomainError):
    """Tasks of this ticket are still open."""

    code = "open_tasks"
    remedy = "Complete or cancel them first."


class TicketClosed(IllegalTransition):
    """This ticket is closed."""

    code = "ticket_closed"
    remedy = "Reopen it first: POST /api/v1/tickets/{id}/reopen."

    def __init__(self, detail: str | None = None, *, status: str = "", **data: Any) -> None:
        if status == "completed":
            data = {"remedy": "What is completed stays closed: open a new ticket.", **data}
        super().__init__(detail, **data)


class WorkRunning(DomainError):
    """Work on this ticket is running; its result would be about what is to be replaced."""

    code = "work_running"
    remedy = (
        "Wait for its end, or call it off with POST /api/v1/tasks/{id}/cancel. Then send the"
        " change again."
    )


class RetryElsewhere(IllegalTransition):
    """The ticket of this task is blocked and did not come from the task's phase."""

    code = "ticket_blocked"


class TaskNotClaimable(DomainError):
    """This task cannot be claimed now."""

    code = "not_claimable"
    remedy = "Claim without an id for work that is ready; `waiting` says what this task waits for."
    example = {
        "waiting": [{"code": "state", "detail": "“Look” is completed.", "refs": [], "until": None}]
    }


class NoCapableAgent(DomainError):
    """No agent that runs here offers what the task needs; an outside agent may claim it."""

    code = "no_capable_agent"
    permanent = False
    remedy = "Connect an agent with these capabilities, or start the one that has them."


class CancelRequested(DomainError):
    """This task is being cancelled: it can be released or failed, not completed."""

    code = "cancel_requested"
    remedy = "Release it, or fail it."


class DependencyCycle(DomainError):
    """These tasks would wait for each other in a circle; nothing was changed."""

    code = "dependency_cycle"
    remedy = "Leave out one of the dependencies that `cycle` names."
    example = {"cycle": ["a", "b", "a"]}


class DependenciesFixed(IllegalTransition):
    """What a task waits for changes only while it waits."""

    code = "task_not_waiting"
    remedy = "Release it, or retry it, before you change what it waits for."


class ReviewTaken(DomainError):
    """Somebody else reviews this task now."""

    code = "review_taken"
    remedy = "Wait for their verdict, or until `lease_expires_at`."
    example = {"holder": None, "lease_expires_at": None}


class ReviewLost(DomainError):
    """This review is not yours now: it was not begun, is over, or its 600 seconds are."""

    code = "review_lost"
    remedy = "Begin one: POST /api/v1/tasks/{id}/reviews."


class CompletedBefore(DomainError):
    """This completion was told before: a repeat claims nothing, and no task waits to be begun."""

    code = "completed_before"
    remedy = "Claim the next task."


class TooManyLeases(QuotaExceeded):
    """One holder may hold at most ten tasks."""

    remedy = "Complete or release one first."
    retry_after = 5


class WorkflowNotFound(Invalid):
    """There is no workflow with this key."""


class OverrideNotAllowed(Forbidden):
    """A gate may be overridden only by a person with authority 4 and a reason."""

    code = "authority_too_low"


class ReservedContextKey(Invalid):
    """This context key is written by Lemnos."""
