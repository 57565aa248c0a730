"""The rows of phases."""

from phases.models.gate import PhaseGateArtifact, PhaseGateResult
from phases.models.task import ReadyTask, Task, TaskDependency
from phases.models.ticket import PhaseHistory, Ticket, TicketCounter
from phases.models.workflow import BoardColumn, GateRequirement, Phase, Workflow

__all__ = [
    "BoardColumn",
    "GateRequirement",
    "Phase",
    "PhaseGateArtifact",
    "PhaseGateResult",
    "PhaseHistory",
    "ReadyTask",
    "Task",
    "TaskDependency",
    "Ticket",
    "TicketCounter",
    "Workflow",
]
