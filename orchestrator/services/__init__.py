"""The verbs of the orchestrator: the only writers of its rows."""

from orchestrator.services.agents import publish_version, register_version, seed_agents
from orchestrator.services.demo import open_demo_ticket
from orchestrator.services.dispatch import agent_actor, dispatch, place, request_dispatch
from orchestrator.services.executions import finish_execution, start_execution, sweep_executions
from orchestrator.services.installation import attempt_id, bootstrap
from orchestrator.services.runtime import (
    pause_agent,
    resume_agent,
    runtime_status,
    start_agent,
    stop_agent,
    switch_runtime,
)

__all__ = [
    "agent_actor",
    "attempt_id",
    "bootstrap",
    "dispatch",
    "finish_execution",
    "open_demo_ticket",
    "pause_agent",
    "place",
    "publish_version",
    "register_version",
    "request_dispatch",
    "resume_agent",
    "runtime_status",
    "seed_agents",
    "start_agent",
    "start_execution",
    "stop_agent",
    "sweep_executions",
    "switch_runtime",
]
