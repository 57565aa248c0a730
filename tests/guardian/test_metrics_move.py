"""Figures that move when what they count happens; those of a ticket's life: test_one_tree.py."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from guardian import metrics, relay, services
from guardian.courier import deliver_due
from guardian.models import WebhookDelivery
from memory import services as memory
from phases import services as phases
from phases.models import Task

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def told(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"lemnos_{name}", labels) or 0.0


class Moved:
    def __init__(self, name: str, **labels: str) -> None:
        self.name, self.labels = name, labels
        self.before = told(name, **labels)

    @property
    def by(self) -> float:
        return told(self.name, **self.labels) - self.before


def test_a_lock_from_the_line_to_the_holder(team, lead, agent):
    moved = Moved("lock_wait_seconds_count")
    named = {"resource_type": "device", "resource_id": "d1"}
    held = services.acquire_lock(actor=lead, **named)
    services.acquire_lock(actor=agent, **named)
    assert moved.by == 0

    services.release_lock(actor=lead, lock_id=held.lock_id, fence=held.fence)

    assert moved.by == 1


def test_the_kill_switch_and_a_charge(team, admin):
    action = Moved("guardian_actions_total", kind="kill_switch")
    dollars = Moved("cost_usd_total", provider="openai", model="gpt-4")
    built = Moved("pack_build_seconds_count", policy="none")

    services.build_first_pack()
    services.set_kill_switch(actor=admin, on=True, reason="test")
    record = services.charge(
        team=team, task_id=None, ticket_id=None, provider="openai", model="gpt-4",
        prompt_tokens=1000, completion_tokens=0,
    )  # fmt: skip

    assert action.by == built.by == 1
    assert Decimal(str(round(dollars.by, 6))) == record.amount.quantize(Decimal("0.000001"))


def test_a_lease_that_ran_out(team, lead, agent):
    phases.seed_team(team=team)
    moved = Moved("leases_lost_total")
    phases.open_ticket(actor=lead, title="x", workflow="software_development")
    Task.objects.first()
    claimed = phases.claim_tasks(actor=agent, capabilities=every_capability(), limit=1)
    assert claimed
    Task.objects.filter(pk=claimed[0].task.pk).update(
        lease_expires_at=timezone.now() - timedelta(seconds=1)
    )

    phases.sweep_leases()

    assert moved.by == 1


def every_capability() -> list[str]:
    return sorted({name for task in Task.objects.all() for name in task.required_capabilities})


def test_a_search_in_each_mode(team, lead):
    moved = Moved("memory_search_seconds_count", mode="keyword")

    memory.search(actor=lead, query="storm", mode="keyword")

    assert moved.by == 1


def test_a_webhook_nobody_answers(team, admin, settings):
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]  # where nobody listens on port 443
    moved = Moved("webhook_attempts_total", result="no_answer")
    webhook, _ = services.create_webhook(
        actor=admin, name="h", url="https://127.0.0.1/in", kinds=["*"]
    )
    services.send_test_event(actor=admin, webhook_id=webhook.pk)
    relay.run_once()
    assert WebhookDelivery.objects.exists()

    deliver_due(webhook.pk)

    assert moved.by >= 1


def test_what_is_rolled_back_was_never_counted(team, admin):
    moved = Moved("guardian_actions_total", kind="kill_switch")

    with transaction.atomic():
        services.set_kill_switch(actor=admin, on=True, reason="test")
        transaction.set_rollback(True)

    assert moved.by == 0
    assert connection.in_atomic_block is False
