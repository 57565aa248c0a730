"""The verbs of tools: the only writers of its rows."""

from tools.services.approval import approve_tool, switch_tool, withdraw_tool
from tools.services.executions import (
    cancel_execution,
    find_tool,
    finish_execution,
    hand_back_execution,
    needed_level,
    refuse_execution,
    request_execution,
    runs_its_input,
    sweep_executions,
    take_execution,
)
from tools.services.files import delete_file, file_row, open_file, store_file
from tools.services.hosts import (
    offered_levels,
    record_host,
    require_level_at_hand,
    tell_lowered_floor,
)
from tools.services.registration import quarantine_tool, seed_shipped_tools, seed_team

__all__ = [
    "approve_tool",
    "cancel_execution",
    "delete_file",
    "file_row",
    "find_tool",
    "finish_execution",
    "hand_back_execution",
    "needed_level",
    "offered_levels",
    "open_file",
    "quarantine_tool",
    "record_host",
    "refuse_execution",
    "request_execution",
    "require_level_at_hand",
    "runs_its_input",
    "seed_shipped_tools",
    "seed_team",
    "store_file",
    "sweep_executions",
    "switch_tool",
    "take_execution",
    "tell_lowered_floor",
    "withdraw_tool",
]
