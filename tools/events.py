"""Event kinds that tools emits. Data keys in the comments."""

FILE_STORED = "tools.file.stored"  # name, size, sha256
FILE_DELETED = "tools.file.deleted"  # name, sha256
TOOL_REGISTERED = "tools.tool.registered"  # name, revision
TOOL_APPROVED = "tools.tool.approved"  # name, revision, approval_kind
TOOL_QUARANTINED = "tools.tool.quarantined"  # name, revision, diff
TOOL_SWITCHED_OFF = "tools.tool.switched_off"  # name
TOOL_SWITCHED_ON = "tools.tool.switched_on"  # name
TOOL_REFUSED = "tools.tool.refused"  # name, code
EXECUTION_PENDING = "tools.execution.pending"  # tool, needed_level, context
EXECUTION_RUNNING = "tools.execution.running"  # tool, attempt, isolation_level, context
EXECUTION_COMPLETED = "tools.execution.completed"  # tool, result_class, context
EXECUTION_FAILED = "tools.execution.failed"  # tool, result_class, context
EXECUTION_TIMEOUT = "tools.execution.timeout"  # tool, result_class, context
EXECUTION_CANCELLED = "tools.execution.cancelled"  # tool, result_class, context
HOST_CHANGED = "tools.host.changed"  # host, levels, warnings
FLOOR_LOWERED = "tools.isolation.floor_lowered"  # level
