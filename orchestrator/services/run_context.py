"""What a run is pinned to when it is asked for, and in whose name it works."""

from typing import Any

from django.utils import timezone

from guardian import context
from guardian.authority import Actor, actor_for, scopes_of
from guardian.ledger import ledger_head
from guardian.models.base import uuid7
from guardian.services.packs import newest_pack_id
from orchestrator.models import PatternRun
from orchestrator.request_context import RequestCtx


def build_ctx(*, actor: Actor, **choices: Any) -> RequestCtx:
    """The facts of this moment, pinned: newest built price pack, ledger head, who asks.

    `choices`: asof_date, require_fresh, portfolio_id, security_id, trace_id. Raises PackNotFound.
    """
    ledger_hash, seq = ledger_head(actor.team_id)
    now = timezone.now()
    request_id = context.request_id()
    return RequestCtx(
        **{
            "pricing_pack_id": newest_pack_id(),
            "ledger_commit_hash": ledger_hash,
            "ledger_seq": seq,
            "trace_id": uuid7().hex,
            "request_id": request_id,
            "user_id": actor.id,
            "team_id": actor.team_id,
            "timestamp": now,
            "asof_date": now.date(),
            "scopes": tuple(sorted(actor.scopes)),
            "authority": actor.authority,
            **choices,
        }
    )


def actor_of_run(run: PatternRun) -> Actor:
    """Who started it, with at most the rights they had then and have now.

    Raises Forbidden when they are no longer in the team.
    """
    ctx = RequestCtx.from_json(run.ctx)
    now = actor_for(run.started_by, run.team)
    return Actor(
        user=now.user,
        team=now.team,
        role=now.role,
        authority=min(now.authority, ctx.authority),
        scopes=scopes_of(now.role, ctx.scopes),
    )
