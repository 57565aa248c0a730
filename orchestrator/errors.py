"""What the orchestrator refuses, and what to do about it."""

from guardian.errors import DomainError, NotFound


class VersionImmutable(DomainError):
    """A published version never changes."""

    code = "version_immutable"
    remedy = "Raise metadata.version and register it as a new version."


class RuntimeStopped(DomainError):
    """The runtime of this team is stopped: nothing is placed."""

    code = "runtime_stopped"
    status = 503
    permanent = False
    remedy = "Start it with POST /api/v1/runtime/start."


class ExecutionNotFound(NotFound):
    """There is no such execution."""


class InstanceNotFound(NotFound):
    """There is no such agent."""


class AgentBusy(DomainError):
    """This agent has no free slot now."""

    code = "agent_busy"
    permanent = False
