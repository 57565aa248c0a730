"""Event kinds that the orchestrator emits. Data keys in the comments."""

PATTERN_REGISTERED = "orchestrator.pattern.registered"  # slug, version, content_hash
PATTERN_PUBLISHED = "orchestrator.pattern.published"  # slug, version, content_hash
PATTERN_DEPRECATED = "orchestrator.pattern.deprecated"  # slug, version, content_hash
# All of a run: run_id, ticket_id, task_id, pattern, version; and what each line names.
RUN_STARTED = "orchestrator.run.started"  # attempt
RUN_QUEUED = "orchestrator.run.queued"  # attempt; asked for, woken, or its host was lost
RUN_WAITING = "orchestrator.run.waiting"  # steps
RUN_FINISHED = "orchestrator.run.finished"  # state, error_code, error_step
# step, capability, agent, state, duration_ms, error_code, ended, total
STEP_FINISHED = "orchestrator.step.finished"

AGENT_REGISTERED = "orchestrator.agent.registered"  # slug, version
AGENT_PUBLISHED = "orchestrator.agent.published"  # slug, version
AGENT_STARTED = "orchestrator.agent.started"  # name, runtime
AGENT_STATE_CHANGED = "orchestrator.agent.state_changed"  # name, from_state, to_state
EXECUTION_QUEUED = "orchestrator.agent.execution.queued"  # task_id, ticket_id, agent, fence
EXECUTION_STARTED = "orchestrator.agent.execution.started"  # task_id, ticket_id, agent, attempt
EXECUTION_FINISHED = "orchestrator.agent.execution.finished"  # task_id, ticket_id, agent, state
DISPATCH_REFUSED = "orchestrator.dispatch.refused"  # task_id, ticket_id, code
RUNTIME_SWITCHED = "orchestrator.runtime.switched"  # running

EVENT_UNHANDLED = "orchestrator.event.unhandled"  # event_id, type
