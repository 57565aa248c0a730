"""Event kinds that the orchestrator emits. Data keys in the comments."""

AGENT_REGISTERED = "orchestrator.agent.registered"  # slug, version
AGENT_PUBLISHED = "orchestrator.agent.published"  # slug, version
AGENT_STARTED = "orchestrator.agent.started"  # name, runtime
AGENT_STATE_CHANGED = "orchestrator.agent.state_changed"  # name, from_state, to_state
EXECUTION_QUEUED = "orchestrator.agent.execution.queued"  # task_id, ticket_id, agent, fence
EXECUTION_STARTED = "orchestrator.agent.execution.started"  # task_id, ticket_id, agent, attempt
EXECUTION_FINISHED = "orchestrator.agent.execution.finished"  # task_id, ticket_id, agent, state
DISPATCH_REFUSED = "orchestrator.dispatch.refused"  # task_id, ticket_id, code
RUNTIME_SWITCHED = "orchestrator.runtime.switched"  # running
