"""The rows of orchestrator."""

from orchestrator.models.agents import (
    AgentDefinition,
    AgentInstance,
    AgentVersion,
    RuntimeSwitch,
    free_slots,
)
from orchestrator.models.executions import AgentExecution
from orchestrator.models.patterns import ExecutionPattern, PatternRun, StepRun
from orchestrator.models.triggers import AgentTrigger

__all__ = [
    "AgentDefinition",
    "AgentExecution",
    "AgentInstance",
    "AgentTrigger",
    "AgentVersion",
    "ExecutionPattern",
    "PatternRun",
    "RuntimeSwitch",
    "StepRun",
    "free_slots",
]
