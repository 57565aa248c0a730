"""Who outside is told: the verbs on webhooks."""

import re
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from guardian import events
from guardian.authority import Actor, require_scope
from guardian.errors import (
    AlreadyExists,
    EgressRefused,
    IllegalTransition,
    Invalid,
    NotFound,
    QuotaExceeded,
    StaleVersion,
)
from guardian.kinds import is_known, is_outside_name, nearest_known
from guardian.models import Event, Webhook
from guardian.outbox import emit
from guardian.signatures import secret_of
from guardian.targets import check_url

SCOPE = "webhooks:write"
MOST = 50  # per team: each event is matched against all of them
MOST_KINDS = 50
_KIND = re.compile(r"\*|[a-z0-9_]+(?:\.[a-z0-9_]+)*(?:\.\*)?")


@transaction.atomic
def create_webhook(
    *, actor: Actor, name: str, url: str, kinds: list[str], enabled: bool = True
) -> tuple[Webhook, str]:
    """A new webhook and its secret, which is shown now and never again.

    Raises ScopeMissing, Invalid, EgressRefused, AlreadyExists, QuotaExceeded, WebhookKeyMissing.
    """
    require_scope(actor, SCOPE)
    _judge(actor, {"name": name, "url": url, "kinds": kinds})
    if Webhook.objects.for_team(actor.team_id).count() >= MOST:
        raise QuotaExceeded(
            f"A team has at most {MOST} webhooks.", remedy="Delete one that is not needed."
        )
    webhook = Webhook(
        team=actor.team, name=name, url=url, kinds=kinds, enabled=enabled, created_by=actor.user
    )
    _save(webhook)
    emit(events.WEBHOOK_CREATED, subject=webhook, actor=actor, name=name, kinds=kinds)
    return webhook, secret_of(webhook.pk, webhook.generation)


@transaction.atomic
def change_webhook(
    *,
    actor: Actor,
    webhook_id: UUID,
    version: int | None = None,
    reason: str = "",
    **fields: Any,
) -> Webhook:
    """Change name, url, kinds or enabled; enabling it forgets its failures.

    Raises NotFound, ScopeMissing, StaleVersion, Invalid, EgressRefused, AlreadyExists.
    """
    webhook = _locked(actor, webhook_id, version)
    changed = {name: value for name, value in fields.items() if getattr(webhook, name) != value}
    if not changed:
        return webhook
    _judge(actor, changed)
    before = {name: getattr(webhook, name) for name in changed}
    for name, value in changed.items():
        setattr(webhook, name, value)
    if changed.get("enabled") is True:
        webhook.failures, webhook.disabled_reason = 0, ""
    if changed.get("enabled") is False:
        webhook.disabled_reason = reason or f"Disabled by {actor.name}."
    webhook.version += 1
    _save(webhook)
    emit(
        events.WEBHOOK_CHANGED,
        subject=webhook,
        actor=actor,
        reason=reason,
        before=_without_paths(before),
        after=_without_paths(changed),
        name=webhook.name,
        fields=sorted(changed),
    )
    return webhook


@transaction.atomic
def delete_webhook(
    *, actor: Actor, webhook_id: UUID, version: int | None = None, reason: str = ""
) -> None:
    """Take a webhook away with all it was ever told.

    Raises NotFound, ScopeMissing, StaleVersion.
    """
    webhook = _locked(actor, webhook_id, version)
    emit(events.WEBHOOK_DELETED, subject=webhook, actor=actor, reason=reason, name=webhook.name)
    webhook.delete()


@transaction.atomic
def rotate_webhook_secret(
    *, actor: Actor, webhook_id: UUID, reason: str = ""
) -> tuple[Webhook, str]:
    """A new secret, shown once; the one before it signs as well for another 24 hours.

    Raises NotFound, ScopeMissing, WebhookKeyMissing.
    """
    webhook = _locked(actor, webhook_id)
    webhook.generation += 1
    webhook.rotated_at = timezone.now()
    webhook.version += 1
    webhook.save(update_fields=["generation", "rotated_at", "version", "updated_at"])
    emit(
        events.WEBHOOK_ROTATED,
        subject=webhook,
        actor=actor,
        reason=reason,
        name=webhook.name,
        generation=webhook.generation,
    )
    return webhook, secret_of(webhook.pk, webhook.generation)


@transaction.atomic
def send_test_event(*, actor: Actor, webhook_id: UUID, reason: str = "") -> Event:
    """An event that goes to this webhook alone, by the way all others take.

    Raises NotFound, ScopeMissing, IllegalTransition.
    """
    webhook = _locked(actor, webhook_id)
    if not webhook.enabled:
        raise IllegalTransition(
            "This webhook is disabled.",
            allowed=["enable"],
            remedy=f'Send {{"enabled": true}} with PATCH /api/v1/webhooks/{webhook.pk} first.',
        )
    return emit(
        events.WEBHOOK_TESTED, subject=webhook, actor=actor, reason=reason, name=webhook.name
    )


def _locked(actor: Actor, webhook_id: UUID, version: int | None = None) -> Webhook:
    require_scope(actor, SCOPE)
    webhook = (
        Webhook.objects.for_team(actor.team_id)
        .select_for_update(no_key=True)
        .filter(pk=webhook_id)
        .first()
    )
    if webhook is None:
        raise NotFound("There is no such webhook.")
    if version is not None and version != webhook.version:
        raise StaleVersion(current_etag=f'"v{webhook.version}"')
    return webhook


def _judge(actor: Actor, fields: dict[str, Any]) -> None:
    """Raises EgressRefused, Invalid, AlreadyExists."""
    if "url" in fields:
        _check_address(fields["url"])
    if "kinds" in fields:
        _check_kinds(actor, fields["kinds"])
    if "name" in fields:
        _check_name(actor, fields["name"])


def _check_address(url: str) -> None:
    try:
        check_url(url)
    except EgressRefused as refusal:
        refusal.data["errors"][0]["path"] = "url"
        raise


def _check_name(actor: Actor, name: str) -> None:
    if Webhook.objects.for_team(actor.team_id).filter(name=name).exists():
        raise _named_before(name)


def _named_before(name: str) -> AlreadyExists:
    return AlreadyExists(f"This team has a webhook called {name} already.", name=name)


def _save(webhook: Webhook) -> None:
    """Raises AlreadyExists, where another took the name since it was looked for."""
    try:
        with transaction.atomic():
            webhook.save()
    except IntegrityError as error:
        if "webhook_name_is_one_per_team" not in str(error):
            raise
        raise _named_before(webhook.name) from error


def _check_kinds(actor: Actor, kinds: list[str]) -> None:
    if not 1 <= len(kinds) <= MOST_KINDS:
        raise Invalid(path="kinds", reason=f"must name 1 to {MOST_KINDS} kinds; `*` is all")
    for number, kind in enumerate(kinds):
        if not _KIND.fullmatch(kind):
            raise Invalid(
                path=f"kinds[{number}]",
                reason="must be a kind or alias, `a.*` for a family, or `*`",
            )
        if not is_known(kind) and not _was_told(actor, kind):
            _check_outside(kind, path=f"kinds[{number}]")


def _was_told(actor: Actor, kind: str) -> bool:
    """Whether the team has heard of such events from outside."""
    told = Event.objects.filter(team_id=actor.team_id)
    family = kind.removesuffix("*")
    return (
        told.filter(kind=kind) if family == kind else told.filter(kind__startswith=family)
    ).exists()


def _check_outside(kind: str, *, path: str) -> None:
    """An outside kind is free, but no slip of the pen for one of ours. Raises Invalid."""
    nearest = nearest_known(kind)
    if not is_outside_name(kind):
        hint = f"; the nearest is {nearest}" if nearest else ""
        raise Invalid(path=path, reason=f"no event is called {kind}{hint}")
    if nearest:
        raise Invalid(
            path=path,
            reason=f"no event was ever called {kind}; {nearest} is close."
            " For a kind of your own, publish one such event first",
        )


def _without_paths(values: dict[str, Any]) -> dict[str, Any]:
    """An address's path may be a secret; the event keeps where it leads, not how one gets in."""
    if "url" not in values:
        return values
    try:
        told = f"{check_url(values['url'])}/…"
    except EgressRefused:
        # The former one, which was allowed by the settings of its time.
        told = "an address that is not allowed any more"
    return {**values, "url": told}
