"""What the orchestrator refuses, and what to do about it."""

from guardian.errors import DomainError, Invalid, LeaseLost, NotFound
from guardian.foreign_errors import DatabaseUnavailable


class VersionImmutable(DomainError):
    """A published version never changes."""

    code = "version_immutable"
    remedy = "Raise metadata.version and register it as a new version."


class ExecutionNotFound(NotFound):
    """There is no such execution."""


class InstanceNotFound(NotFound):
    """There is no such agent."""


class AgentBusy(DomainError):
    """This agent has no free slot now."""

    code = "agent_busy"
    permanent = False
    remedy = "Wait until one of its tasks ends, or let another agent take it."


# Templates


class TemplateInvalid(Invalid):
    """This text holds a template that cannot be read."""

    code = "template_invalid"
    remedy = "Write {{inputs.name}}, {{state.step.key}} or {{ctx.name}}; \\{{ for two braces."


class TemplateMissing(Invalid):
    """A template asks for a value that is not there."""

    code = "template_missing"
    remedy = "Give it, or write a default: {{inputs.name | default(0)}}."


class TemplateTooLarge(Invalid):
    """What the templates make is too large."""

    code = "template_too_large"
    remedy = "Refer to less, or hand large values over as files."


# Capabilities


class CapabilityNotFound(NotFound):
    """No agent here has this capability."""

    code = "capability_not_found"
    remedy = "Use one of `available`, or start an agent that offers it."


class CapabilityInputInvalid(Invalid):
    """The arguments break the contract of the capability."""

    code = "capability_input_invalid"
    remedy = "Correct the arguments it names in the step of the pattern."


class CapabilityResultInvalid(DomainError):
    """The capability answered something that its contract does not allow."""

    code = "capability_result_invalid"
    status = 500
    remedy = "Report it with the run's id: the capability and its contract disagree."


class CapabilityFailed(DomainError):
    """The capability broke down; its log tells why."""

    code = "agent_execution_error"
    status = 500
    remedy = "Look the run up in the error log by its id, then retry the task."


class ResultTooLarge(DomainError):
    """A result may have 1 MiB of JSON."""

    code = "result_too_large"
    remedy = "Store large results as files and answer their ids."


class StepTimeout(DomainError):
    """The step took longer than allowed."""

    code = "timeout"
    status = 504
    permanent = False
    remedy = "Give the step more time in its pattern, or less to do."


class DatabaseAway(DatabaseUnavailable):
    """The database did not answer."""


# Patterns


class PatternInvalid(Invalid):
    """This pattern has faults."""

    code = "pattern_invalid"
    remedy = "Correct the faults it lists."


class PatternNotFound(NotFound):
    """There is no such published pattern here."""

    code = "pattern_not_found"
    remedy = "GET /api/v1/patterns lists them; only a published version can run."


class PatternInputsInvalid(Invalid):
    """The inputs do not fit the pattern."""

    code = "pattern_inputs_invalid"
    remedy = "Give the inputs that the pattern declares."


class PatternFrozen(DomainError):
    """This version of the pattern is published and never changes."""

    code = "version_immutable"
    remedy = "Send the change under a new version."


class ShippedPattern(DomainError):
    """A shipped pattern belongs to Lemnos."""

    code = "immutable"
    remedy = "Export it and send it back under a slug of your own."


# Runs


class RunBusy(DomainError):
    """Another host runs this right now."""

    code = "run_busy"
    permanent = False
    remedy = "Wait for its end; the run's own page shows how far it is."


class RunStillOpen(DomainError):
    """This run has not ended yet."""

    code = "illegal_transition"
    remedy = "Wait for its end, or cancel it first."


class RunTakenOver(LeaseLost):
    """This run was taken over or ended by somebody else: nothing of this attempt counts."""


class RunTimeout(DomainError):
    """It took longer than allowed."""

    code = "timeout"
    status = 504
    remedy = "Give it more time, or less to do."


class HostLost(DomainError):
    """The hosts that ran this died, one after another."""

    code = "host_lost"
    remedy = "Retry the task. If it ends so again, look at what it needs: memory first of all."


# The workshop


class SourceInvalid(Invalid):
    """The ticket names no source that can be opened."""

    code = "source_invalid"
    remedy = "Give context.source as {kind: archive, file_id} or {kind: self}."


class RunOfToolFailed(DomainError):
    """A run of a tool ended badly."""

    def __init__(self, detail: str, *, code: str, permanent: bool, **data: object) -> None:
        super().__init__(detail, **data)
        # Each kind of bad end keeps the name that tools gave it.
        self.code = code  # type: ignore[misc]  # of the class everywhere else
        self.permanent = permanent  # type: ignore[misc]  # of the class everywhere else


class EvidenceNotOurs(DomainError):
    """Evidence is written only from a run of a tool that this task made itself."""

    code = "evidence_not_ours"
    status = 403
    remedy = "Attach it as reported evidence and let a second person confirm it."


class RunOfTask(DomainError):
    """This run did the work of a task, and only a worker that holds the task may do it again."""

    code = "run_of_task"
    remedy = "Retry the task: POST /api/v1/tasks/{task_id}/retry."
