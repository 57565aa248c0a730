"""The kill switch: one row that every starter reads."""

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from guardian import events, metrics
from guardian.authority import GUARDIAN, SYSTEM, Actor, require_level, require_scope
from guardian.errors import DomainError
from guardian.models import GuardianAction, Team
from guardian.outbox import emit


class AlreadyReverted(DomainError):
    """The kill switch is in that position already."""

    code = "already_reverted"
    remedy = "Nothing is left to do; the team's page in the admin shows how it stands."


def kill_switch_is_on(*, team: Team) -> bool:
    """Whether nothing new may start in this team."""
    return GuardianAction.objects.switches_on().filter(Q(team=team) | Q(team__isnull=True)).exists()


@transaction.atomic
def set_kill_switch(
    *, actor: Actor, on: bool, reason: str, everywhere: bool = False
) -> GuardianAction:
    """Stop or allow new work in the actor's team, or everywhere.

    Raises ScopeMissing, AuthorityTooLow, AlreadyReverted.
    """
    require_scope(actor, "guardian:intervene")
    require_level(actor, SYSTEM if everywhere else GUARDIAN)
    team = None if everywhere else actor.team
    switch = (
        GuardianAction.objects.select_for_update()
        .filter(kind=GuardianAction.Kind.KILL_SWITCH, state="executed", team=team)
        .first()
    )
    if (switch is not None) == on:
        raise AlreadyReverted
    if switch is None:
        switch = GuardianAction.objects.create(
            team=team,
            kind=GuardianAction.Kind.KILL_SWITCH,
            reason=reason,
            authority_level=actor.authority,
            initiated_by=actor.user,
            before={"on": False},
            after={"on": True},
        )
        switch.execute()
        switch.executed_at = timezone.now()
        metrics.GUARDIAN_ACTIONS.on_commit(kind=switch.kind)
        switch.save(update_fields=["state", "executed_at", "updated_at"])
        emit(
            events.ACTION_EXECUTED, subject=switch, actor=actor, reason=reason, kind_of=switch.kind
        )
    else:
        switch.revert()
        switch.reverted_at = timezone.now()
        switch.reverted_by = actor.user
        switch.save(update_fields=["state", "reverted_at", "reverted_by", "updated_at"])
        emit(
            events.ACTION_REVERTED, subject=switch, actor=actor, reason=reason, kind_of=switch.kind
        )
    return switch
