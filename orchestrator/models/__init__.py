"""The rows of orchestrator."""
