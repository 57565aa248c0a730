"""The rows of orchestrator."""

from orchestrator.models.patterns import ExecutionPattern, PatternRun, StepRun

__all__ = ["ExecutionPattern", "PatternRun", "StepRun"]
