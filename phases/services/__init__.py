"""The verbs of phases: the only writers of its rows."""

from phases.services.approvals import (
    approve_ticket,
    put_aside_unanswered,
    reject_ticket,
    resubmit_ticket,
)
from phases.services.auto import auto_transition
from phases.services.batches import NewTask, compare_tasks, create_tasks
from phases.services.board import advance_ticket, move_card, set_card_facts
from phases.services.board_bulk import CardMove, move_cards
from phases.services.cancels import cancel_task, cancellable_tasks
from phases.services.claim_facts import budget_left, results_before
from phases.services.columns import change_column, change_phase
from phases.services.contexts import update_context
from phases.services.copies import Alike
from phases.services.dependencies import add_dependencies, circle_with, remove_dependency
from phases.services.discoveries import (
    branch_discovery,
    record_discovery,
    resolve_discovery,
    source_of,
)
from phases.services.endings import (
    HandedOver,
    complete_and_claim,
    complete_task,
    fail_task,
    release_task,
)
from phases.services.evidence import add_artifact, record_evidence
from phases.services.gate import phase_asked, validate_gate
from phases.services.gate_checks import WantedCheck, note_check, wanted_checks
from phases.services.gate_requirements import (
    add_requirement,
    change_requirement,
    find_phase,
    remove_requirement,
)
from phases.services.holding import hold_for_task
from phases.services.leases import claim_tasks, extend_lease, tell_resumed
from phases.services.moves import transition
from phases.services.queue import (
    Ready,
    claimable_tasks,
    note_why_waiting,
    ready_tasks,
    require_phase,
    teams_with_work,
    waiting_without_agent,
    weigh_anew,
)
from phases.services.restarts import reopen_ticket
from phases.services.results import decide_result, generate_tasks, submit_result
from phases.services.retries import retry_task, retry_ticket
from phases.services.reviews import (
    decide_review,
    feedback_of,
    give_verdict,
    start_review,
    sweep_reviews,
)
from phases.services.spawning import Spawn, compare_spawn
from phases.services.sweep import handle_final_task, heal_queue, sweep_leases
from phases.services.tasks import compare_task, create_task, settle_dependencies, start_ticket
from phases.services.tickets import cancel_ticket, fail_ticket, open_ticket, update_ticket
from phases.services.timeouts import clean_up_timed_out, set_timeout, timed_out
from phases.services.verdicts import verify_artifact
from phases.services.waiting import admit_queued, retry_moves
from phases.services.workflows import export_workflow, import_file, import_workflow, seed_team

__all__ = [
    "Alike",
    "CardMove",
    "HandedOver",
    "NewTask",
    "Ready",
    "Spawn",
    "WantedCheck",
    "add_artifact",
    "add_dependencies",
    "add_requirement",
    "admit_queued",
    "advance_ticket",
    "approve_ticket",
    "auto_transition",
    "branch_discovery",
    "budget_left",
    "cancel_task",
    "cancel_ticket",
    "cancellable_tasks",
    "change_column",
    "change_phase",
    "change_requirement",
    "circle_with",
    "claim_tasks",
    "claimable_tasks",
    "clean_up_timed_out",
    "compare_spawn",
    "compare_task",
    "compare_tasks",
    "complete_and_claim",
    "complete_task",
    "create_task",
    "create_tasks",
    "decide_result",
    "decide_review",
    "export_workflow",
    "extend_lease",
    "fail_task",
    "fail_ticket",
    "feedback_of",
    "find_phase",
    "generate_tasks",
    "give_verdict",
    "handle_final_task",
    "heal_queue",
    "hold_for_task",
    "import_file",
    "import_workflow",
    "move_card",
    "move_cards",
    "note_check",
    "note_why_waiting",
    "open_ticket",
    "phase_asked",
    "put_aside_unanswered",
    "ready_tasks",
    "record_discovery",
    "record_evidence",
    "reject_ticket",
    "release_task",
    "remove_dependency",
    "remove_requirement",
    "reopen_ticket",
    "require_phase",
    "resolve_discovery",
    "resubmit_ticket",
    "results_before",
    "retry_moves",
    "retry_task",
    "retry_ticket",
    "seed_team",
    "set_card_facts",
    "set_timeout",
    "settle_dependencies",
    "source_of",
    "start_review",
    "start_ticket",
    "submit_result",
    "sweep_leases",
    "sweep_reviews",
    "teams_with_work",
    "tell_resumed",
    "timed_out",
    "transition",
    "update_context",
    "update_ticket",
    "validate_gate",
    "verify_artifact",
    "waiting_without_agent",
    "wanted_checks",
    "weigh_anew",
]
