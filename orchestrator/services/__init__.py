"""The verbs of the orchestrator: the only writers of its rows."""

from orchestrator.services.agents import publish_version, register_version, seed_agents
from orchestrator.services.checks import conclude_check, run_checks
from orchestrator.services.demo import open_demo_ticket
from orchestrator.services.dispatch import agent_actor, dispatch, place, request_dispatch
from orchestrator.services.executions import (
    begin_pattern,
    finish_execution,
    offer_again,
    renew_waiting_leases,
    start_execution,
    sweep_executions,
)
from orchestrator.services.installation import attempt_id, bootstrap
from orchestrator.services.patterns import (
    deprecate_pattern,
    find_pattern,
    pattern_versions,
    publish_pattern,
    read_pattern,
    register_pattern,
    seed_patterns,
    shown_pattern,
)
from orchestrator.services.rehearsal import dry_run
from orchestrator.services.routing import (
    Published,
    event_types,
    matching,
    publish,
    publish_many,
    route,
)
from orchestrator.services.run_context import actor_of_run, build_ctx
from orchestrator.services.runs import (
    cancel_run,
    rerun,
    start_run,
)
from orchestrator.services.runtime import (
    pause_agent,
    resume_agent,
    runtime_status,
    start_agent,
    stop_agent,
    switch_runtime,
)
from orchestrator.services.triggers import refresh_triggers
from orchestrator.services.waiting import sweep_runs, wake_runs

__all__ = [
    "Published",
    "actor_of_run",
    "agent_actor",
    "attempt_id",
    "begin_pattern",
    "bootstrap",
    "build_ctx",
    "cancel_run",
    "conclude_check",
    "deprecate_pattern",
    "dispatch",
    "dry_run",
    "event_types",
    "find_pattern",
    "finish_execution",
    "matching",
    "offer_again",
    "open_demo_ticket",
    "pattern_versions",
    "pause_agent",
    "place",
    "publish",
    "publish_many",
    "publish_pattern",
    "publish_version",
    "read_pattern",
    "refresh_triggers",
    "register_pattern",
    "register_version",
    "renew_waiting_leases",
    "request_dispatch",
    "rerun",
    "resume_agent",
    "route",
    "run_checks",
    "runtime_status",
    "seed_agents",
    "seed_patterns",
    "shown_pattern",
    "start_agent",
    "start_execution",
    "start_run",
    "stop_agent",
    "sweep_executions",
    "sweep_runs",
    "switch_runtime",
    "wake_runs",
]
