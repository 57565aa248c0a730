"""The rows of phases."""

from phases.models.context import PhaseContext
from phases.models.discovery import TaskDiscovery, WorkflowResult
from phases.models.gate import PhaseGateArtifact, PhaseGateResult
from phases.models.history import PhaseHistory
from phases.models.queue import ReadyTask, TaskDependency
from phases.models.review import Review
from phases.models.task import Task
from phases.models.ticket import Ticket, TicketCounter
from phases.models.workflow import BoardColumn, GateRequirement, Phase, Workflow

__all__ = [
    "BoardColumn",
    "GateRequirement",
    "Phase",
    "PhaseContext",
    "PhaseGateArtifact",
    "PhaseGateResult",
    "PhaseHistory",
    "ReadyTask",
    "Review",
    "Task",
    "TaskDependency",
    "TaskDiscovery",
    "Ticket",
    "TicketCounter",
    "Workflow",
    "WorkflowResult",
]
