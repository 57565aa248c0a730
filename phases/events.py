"""Event kinds that phases emits. Data keys in the comments."""

TICKET_CREATED = "phases.ticket.created"  # number, workflow, phase
TICKET_STARTED = "phases.ticket.started"  # number
TICKET_PHASE_CHANGED = "phases.ticket.phase_changed"  # from_phase, to_phase, move, via, queued
TICKET_UPDATED = "phases.ticket.updated"  # changed, before, after, keys
TICKET_RESTARTED = "phases.ticket.restarted"  # from_phase, to_phase, replaced, visit, queued
TICKET_REOPENED = "phases.ticket.reopened"  # number, queued
TICKET_COMPLETED = "phases.ticket.completed"  # number
TICKET_CANCELLED = "phases.ticket.cancelled"  # number
TICKET_WAITS = "phases.ticket.waits"  # auto_wait
TASK_CREATED = "phases.task.created"  # ticket_id, task_type
TASK_READIED = "phases.task.readied"  # ticket_id
TASK_CLAIMED = "phases.task.claimed"  # ticket_id, fence, holder
TASK_STARTED = "phases.task.started"  # ticket_id
TASK_COMPLETED = "phases.task.completed"  # ticket_id, fence, unblocked
TASK_FAILED = "phases.task.failed"  # ticket_id, fence, error_code, error_message
TASK_RELEASED = "phases.task.released"  # ticket_id, reason
TASK_RETRY_SCHEDULED = "phases.task.retry_scheduled"  # ticket_id, retry_count, not_before
TASK_LEASE_LOST = "phases.task.lease_lost"  # ticket_id, held_by
TASK_BLOCKED = "phases.task.blocked"  # ticket_id, blocked_reason
TASK_UNBLOCKED = "phases.task.unblocked"  # ticket_id
TASK_RETRIED = "phases.task.retried"  # ticket_id
TASK_CANCELLED = "phases.task.cancelled"  # ticket_id
GATE_EVALUATED = "phases.gate.evaluated"  # ticket_id, phase, gate_status, evaluation
ARTIFACT_ADDED = "phases.artifact.added"  # ticket_id, artifact_type, origin
BOARD_SLOT_FREED = "phases.board.slot_freed"  # column
BOARD_TICKET_MOVED = "phases.board.ticket_moved"  # column, position
