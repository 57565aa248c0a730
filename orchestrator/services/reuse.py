"""Results used again: the same plan over the same pinned facts gives the same result.

Only runs whose capabilities read nothing or the ledger and have no effects are ever used again;
the price pack, the ledger's head and the as-of day are part of the key, so what changed since is
another key. A result lives as long as its shortest-lived step, at most 24 hours.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from guardian.errors import DomainError
from orchestrator import capabilities, templates
from orchestrator.models import ExecutionPattern, PatternRun, StepRun
from orchestrator.request_context import RequestCtx

LONGEST = timedelta(hours=24)
REPEATABLE = {"none", "ledger"}


def key_of(
    *, pattern: ExecutionPattern, ctx: RequestCtx, inputs: Mapping[str, Any], team_id: UUID
) -> str:
    """SHA-256 over everything the result depends on; empty if it depends on more than that."""
    if not _repeatable(pattern):
        return ""
    facts = {
        "team": str(team_id),
        "pattern": pattern.content_hash,
        "pack": ctx.pricing_pack_id,
        "ledger": ctx.ledger_commit_hash,
        "asof": ctx.asof_date.isoformat(),
        "portfolio": ctx.portfolio_id,
        "security": ctx.security_id,
        "rights": [ctx.rights_profile, sorted(ctx.scopes), ctx.authority],
        "inputs": dict(sorted(inputs.items())),
    }
    return hashlib.sha256(templates.compact_json(facts).encode()).hexdigest()


def _repeatable(pattern: ExecutionPattern) -> bool:
    try:
        used = [capabilities.find(step["capability"]) for step in pattern.normal["steps"]]
    except DomainError:
        return False
    # A template may put any fact of the request into an argument: its trace, its time.
    text = templates.compact_json(pattern.normal["steps"])
    names = ("ctx.trace_id", "ctx.timestamp", "ctx.request_id", "ctx.user_id", "{{ctx}}")
    if any(name in text.replace(" ", "") for name in names):
        return False
    return all(found.reads in REPEATABLE and not found.effects for found in used)


def find_reusable(*, key: str, team_id: UUID) -> PatternRun | None:
    """The newest run with this key that succeeded in every step and is still good."""
    if not key:
        return None
    newest = (
        PatternRun.objects.for_team(team_id)
        .filter(cache_key=key, state="succeeded", cached_from=None)
        .filter(finished_at__gt=timezone.now() - LONGEST)
        .order_by("-finished_at")
        .first()
    )
    if newest is None or newest.finished_at is None:
        return None
    steps = list(newest.steps.exclude(state="skipped"))
    if any(step.state != StepRun.State.SUCCEEDED for step in steps):
        return None
    seconds = min((int(step.metadata.get("ttl_seconds", 0)) for step in steps), default=0)
    good_until = newest.finished_at + min(timedelta(seconds=seconds), LONGEST)
    return newest if timezone.now() < good_until else None


def copy_result(*, run: PatternRun, source: PatternRun) -> None:
    """End a queued run with another's steps, each marked as cached; in the caller's transaction."""
    now = timezone.now()
    found = {step.step_id: step for step in source.steps.all()}
    for step in run.steps.all():
        before = found[step.step_id]
        step.cached = before.state == StepRun.State.SUCCEEDED
        step.args, step.metadata, step.reason = before.args, before.metadata, before.reason
        step.started_at = step.finished_at = now
        if before.state == StepRun.State.SKIPPED:
            step.skip()
            step.save()
            continue
        step.start()
        step.save(update_fields=["state", "attempt", "updated_at"])
        step.succeed()
        step.result = before.result
        step.save()
    run.start()
    run.started_at, run.lease_until = now, now
    run.save(update_fields=["state", "started_at", "lease_until", "updated_at"])
    run.succeed()
    run.outputs, run.warnings = source.outputs, source.warnings
    run.cached_from, run.finished_at = source, now
    run.save()
