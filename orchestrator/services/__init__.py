"""The verbs of the orchestrator: the only writers of its rows."""

from orchestrator.services.installation import attempt_id, bootstrap

__all__ = ["attempt_id", "bootstrap"]
