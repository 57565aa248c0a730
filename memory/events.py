"""Event kinds that memory emits. Data keys in the comments."""

RECORD_STORED = "memory.record.stored"  # record_kind, task_id, run_id, trust
RECORD_APPROVED = "memory.record.approved"  # trust
RECORD_REVOKED = "memory.record.revoked"  # runs
CONTEXT_INJECTED = "memory.context.injected"  # record_ids, run_id, task_id
