"""The verbs of guardian: the only writers of its rows."""

from guardian.services.actions import kill_switch_is_on, set_kill_switch
from guardian.services.background import SCOPE as JOB_SCOPE
from guardian.services.background import cancel_job, retry_job
from guardian.services.budgets import (
    begin_periods,
    change_budget,
    create_budget,
    delete_budget,
)
from guardian.services.credentials import authenticate_token
from guardian.services.deliveries import park_delivery, replay_event, retry_delivery
from guardian.services.errors import log_error, resolve_error
from guardian.services.fences import check_fences, verify_fence
from guardian.services.ledger import archive_old_events, check_ledger
from guardian.services.lock_ends import (
    break_lock,
    cancel_request,
    release_all,
    release_locks_of_instance,
    release_locks_of_task,
)
from guardian.services.lock_leases import (
    Lease,
    release_lock,
    renew_lock,
    renew_locks_of_task,
)
from guardian.services.lock_queue import place_of, sweep_locks
from guardian.services.lock_status import (
    lock_conflicts,
    lock_graph,
    lock_status,
    refresh_request,
)
from guardian.services.locks import acquire_lock, acquire_locks
from guardian.services.money import (
    PurseBusyError,
    budget_left,
    charge,
    check_budget,
    reserve_budget,
    settle_cost,
)
from guardian.services.packs import build_first_pack, newest_pack_id
from guardian.services.people import (
    add_user,
    admit_user,
    change_own_password,
    change_role,
    deactivate_user,
    found_team,
    reactivate_user,
    rename_team,
    reset_password,
)
from guardian.services.retention import remove_old_jobs, remove_old_keys
from guardian.services.schedules import (
    create_schedule,
    delete_schedule,
    run_due_schedules,
    run_schedule_now,
    seed_schedules,
    update_schedule,
)
from guardian.services.standing import (
    HOLDINGS_SQL,
    STANDING_SQL,
    Standing,
    holds_anything,
    standing_of,
)
from guardian.services.teams import (
    create_team,
    create_user,
    end_membership,
    ensure_admin,
    set_membership,
)
from guardian.services.tokens import (
    create_token,
    ensure_bootstrap_token,
    revoke_token,
)
from guardian.services.webhook_deliveries import (
    Letter,
    Outcome,
    call_courier_again,
    queue_webhook_deliveries,
    redeliver,
    settle_delivery,
    sweep_webhook_deliveries,
    take_up_delivery,
    wanted_by_webhooks,
)
from guardian.services.webhooks import (
    change_webhook,
    create_webhook,
    delete_webhook,
    rotate_webhook_secret,
    send_test_event,
)

__all__ = [
    "HOLDINGS_SQL",
    "JOB_SCOPE",
    "STANDING_SQL",
    "Lease",
    "Letter",
    "Outcome",
    "PurseBusyError",
    "Standing",
    "acquire_lock",
    "acquire_locks",
    "add_user",
    "admit_user",
    "archive_old_events",
    "authenticate_token",
    "begin_periods",
    "break_lock",
    "budget_left",
    "build_first_pack",
    "call_courier_again",
    "cancel_job",
    "cancel_request",
    "change_budget",
    "change_own_password",
    "change_role",
    "change_webhook",
    "charge",
    "check_budget",
    "check_fences",
    "check_ledger",
    "create_budget",
    "create_schedule",
    "create_team",
    "create_token",
    "create_user",
    "create_webhook",
    "deactivate_user",
    "delete_budget",
    "delete_schedule",
    "delete_webhook",
    "end_membership",
    "ensure_admin",
    "ensure_bootstrap_token",
    "found_team",
    "holds_anything",
    "kill_switch_is_on",
    "lock_conflicts",
    "lock_graph",
    "lock_status",
    "log_error",
    "newest_pack_id",
    "park_delivery",
    "place_of",
    "queue_webhook_deliveries",
    "reactivate_user",
    "redeliver",
    "refresh_request",
    "release_all",
    "release_lock",
    "release_locks_of_instance",
    "release_locks_of_task",
    "remove_old_jobs",
    "remove_old_keys",
    "rename_team",
    "renew_lock",
    "renew_locks_of_task",
    "replay_event",
    "reserve_budget",
    "reset_password",
    "resolve_error",
    "retry_delivery",
    "retry_job",
    "revoke_token",
    "rotate_webhook_secret",
    "run_due_schedules",
    "run_schedule_now",
    "seed_schedules",
    "send_test_event",
    "set_kill_switch",
    "set_membership",
    "settle_cost",
    "settle_delivery",
    "standing_of",
    "sweep_locks",
    "sweep_webhook_deliveries",
    "take_up_delivery",
    "update_schedule",
    "verify_fence",
    "wanted_by_webhooks",
]
