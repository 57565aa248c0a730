"""What an operator does about receivers that keep failing: set aside, or try again."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from guardian import events
from guardian.authority import Actor, require_scope
from guardian.errors import IllegalTransition, Invalid, NotFound
from guardian.models import Delivery, Event
from guardian.outbox import emit

SCOPE = "system:operate"


@transaction.atomic
def retry_delivery(*, actor: Actor, delivery_id: int, reason: str) -> Delivery:
    """Let the relay run a parked or waiting receiver at once, with all its attempts before it.

    Raises NotFound, ScopeMissing, IllegalTransition.
    """
    delivery = _locked(actor, delivery_id)
    _again(delivery)
    _tell(events.DELIVERY_RETRIED, actor, delivery, reason)
    return delivery


@transaction.atomic
def park_delivery(*, actor: Actor, delivery_id: int, reason: str) -> Delivery:
    """Set a failing receiver aside until somebody retries it.

    Raises NotFound, ScopeMissing, IllegalTransition.
    """
    delivery = _locked(actor, delivery_id)
    if delivery.state == Delivery.State.PARKED:
        raise IllegalTransition("This delivery is parked already.", allowed=["pending"])
    delivery.state = Delivery.State.PARKED
    delivery.error = delivery.error or f"Parked by {actor.name}: {reason}"[:2000]
    delivery.save(update_fields=["state", "error"])
    _tell(events.DELIVERY_PARKED, actor, delivery, reason)
    return delivery


@transaction.atomic
def replay_event(
    *, actor: Actor, event_id: UUID, reason: str, handlers: Sequence[str] | None = None
) -> list[Delivery]:
    """Let the parked receivers of an event, or those of them that are named, try again.

    Raises NotFound, ScopeMissing, Invalid for names that are no receivers of it, and
    IllegalTransition where nothing is parked.
    """
    require_scope(actor, SCOPE)
    event = Event.objects.filter(Q(team_id=actor.team_id) | Q(team=None), pk=event_id).first()
    if event is None:
        raise NotFound("There is no such event.")
    found = list(Delivery.objects.select_for_update().filter(event=event).order_by("id"))
    unknown = sorted(set(handlers or ()) - {delivery.handler for delivery in found})
    if unknown:
        raise Invalid(path="handlers", reason=f"no receivers of it: {', '.join(unknown)}")
    wanted = [
        delivery
        for delivery in found
        if delivery.state == Delivery.State.PARKED
        and (handlers is None or delivery.handler in handlers)
    ]
    if not wanted:
        raise IllegalTransition("None of these receivers is parked.", allowed=[])
    for delivery in wanted:
        _again(delivery)
        _tell(events.DELIVERY_RETRIED, actor, delivery, reason)
    return wanted


def _again(delivery: Delivery) -> None:
    delivery.state, delivery.attempts = Delivery.State.PENDING, 0
    delivery.next_at = timezone.now()
    delivery.save(update_fields=["state", "attempts", "next_at"])


def _locked(actor: Actor, delivery_id: int) -> Delivery:
    require_scope(actor, SCOPE)
    delivery = (
        Delivery.objects.select_for_update(of=("self",))
        .select_related("event")
        .filter(pk=delivery_id)
        .first()
    )
    if delivery is None or delivery.event.team_id not in {None, actor.team_id}:
        raise NotFound("There is no such delivery.")
    if delivery.state == Delivery.State.DONE:
        raise IllegalTransition("This delivery is done; its effect happens once.", allowed=[])
    return delivery


def _tell(kind: str, actor: Actor, delivery: Delivery, reason: str) -> None:
    emit(
        kind,
        subject=delivery,
        actor=actor,
        reason=reason,
        handler=delivery.handler,
        event_id=str(delivery.event_id),
    )
