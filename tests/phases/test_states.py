"""Every pair of states that is not an edge raises in raw SQL, whoever writes it."""

from contextlib import suppress
from itertools import permutations
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from phases import services
from phases.models import Review, Task, Ticket
from phases.models.review import REVIEW_EDGES
from phases.models.task import EDGES as TASK_EDGES
from phases.models.ticket import EDGES as TICKET_EDGES


@pytest.fixture
def ticket(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="x", workflow="software_development", phase="PHASE_BACKLOG"
    )


def moved(
    table: str, pk, columns: dict[str, str], arguments: dict[str, Any], *, quiet: bool
) -> None:
    """Set the columns, with no trigger at all where `quiet`: constraints hold all the same."""
    sets = ", ".join(f"{name} = {value}" for name, value in columns.items())
    with connection.cursor() as cursor:
        if quiet:
            cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            f"UPDATE {table} SET {sets} WHERE id = %(pk)s",  # noqa: S608  names of this file
            {**arguments, "pk": pk},
        )
        if quiet:
            cursor.execute("SET LOCAL session_replication_role = origin")


def edges_of(table: str, pk, states: list[str], shape, arguments) -> set[tuple[str, str]]:
    """The pairs that the database lets through."""
    found = set()
    for start, end in permutations(states, 2):
        with transaction.atomic():
            moved(table, pk, shape(start), arguments, quiet=True)
            with suppress(DatabaseError), transaction.atomic():
                moved(table, pk, shape(end), arguments, quiet=False)
                found.add((start, end))
            transaction.set_rollback(True)
    return found


def test_of_a_task(lead, ticket):
    def make(title: str) -> Task:
        return services.create_task(actor=lead, ticket=ticket, task_type="noop", title=title)

    task, other = make("first"), make("other")

    def shape(state: str) -> dict[str, str]:
        held = state in {"assigned", "running"}
        return {
            "status": f"'{state}'",
            "holder_id": "%(user)s" if held else "NULL",
            "lease_expires_at": "now()" if held else "NULL",
            "blocked_reason": "'x'" if state == "blocked" else "NULL",
            "duplicate_of_id": "%(other)s" if state == "duplicated" else "NULL",
        }

    found = edges_of(
        "phases_task",
        task.pk,
        [str(state) for state in Task.Status],
        shape,
        {"user": lead.id, "other": other.pk},
    )

    assert found == set(TASK_EDGES)


def test_of_a_ticket(ticket):
    found = edges_of(
        "phases_ticket",
        ticket.pk,
        [str(state) for state in Ticket.Status],
        lambda state: {"status": f"'{state}'"},
        {},
    )

    assert found == set(TICKET_EDGES)


def test_of_a_review(lead, agent, ticket):
    task = services.create_task(actor=lead, ticket=ticket, task_type="noop", title="x")
    review = Review.objects.create(team=ticket.team, task=task, iteration=1, author=agent.user)

    def shape(state: str) -> dict[str, str]:
        looks = state == "validating"
        return {
            "status": f"'{state}'",
            "reviewer_id": "%(user)s" if looks else "NULL",
            "lease_expires_at": "now()" if looks else "NULL",
        }

    found = edges_of(
        "phases_review",
        review.pk,
        [str(state) for state in Review.Status],
        shape,
        {"user": lead.id},
    )

    assert found == set(REVIEW_EDGES)
