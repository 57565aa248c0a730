"""The board's snapshot at 10, 1,000 and 10,000 tickets: queries and time until the last byte.

One team per size in one database; requests go in turn through the whole stack of the API
(session, scopes, read model, JSON), in this process.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from bench._measure import Goal, conclude, percentile, prepare, timed

SIZES = (10, 1_000, 10_000)
WORKFLOW = "software_development"
BATCH = 500


def make_team(tickets: int) -> Any:
    """A team with so many tickets, each with a task, spread over the columns as work is."""
    from guardian import services as guardian
    from guardian.authority import actor_for
    from phases import services
    from phases.models import Phase, Workflow

    team = guardian.create_team(slug=f"bench-{tickets}", name=f"Bench {tickets}")
    services.seed_team(team=team)
    user = guardian.create_user(username=f"bench-{tickets}", is_staff=True)
    guardian.set_membership(user=user, team=team, role="operator")
    flow = Workflow.objects.get(team=team, key=WORKFLOW)
    ways = list(Phase.objects.filter(workflow=flow, kind="work").order_by("sequence_order"))
    for first in range(1, tickets + 1, BATCH):
        numbers = range(first, min(first + BATCH, tickets + 1))
        insert([(number, ways[number % len(ways)]) for number in numbers], flow, user)
    return actor_for(user, team)


def insert(wanted: list[tuple[int, Any]], flow: Any, user: Any) -> None:
    """Tickets {number, phase} with history and a task each, in one short transaction."""
    from django.db import transaction
    from django.utils import timezone

    from phases.models import PhaseHistory, Task, Ticket

    now = timezone.now()
    rows = [
        Ticket(
            team_id=flow.team_id,
            workflow=flow,
            number=number,
            title=f"Piece of work {number}",
            phase=phase,
            column_id=phase.column_id,
            phase_entered_at=now,
            admitted_at=now,
            rank=float(number),
            created_by=user,
        )
        for number, phase in wanted
    ]
    history = [
        PhaseHistory(
            team_id=flow.team_id,
            ticket=row,
            to_phase_id=row.phase_id,
            kind="create",
            via="api",
            transitioned_by=user,
            ticket_version=row.version,
        )
        for row in rows
    ]
    tasks = [
        Task(
            team_id=flow.team_id,
            ticket=row,
            phase_id=row.phase_id,
            task_type="noop",
            title="Do it",
        )
        for row in rows
    ]
    with transaction.atomic():
        Ticket.objects.bulk_create(rows)
        PhaseHistory.objects.bulk_create(history)
        Task.objects.bulk_create(tasks)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=100, help="for each size")
    asked = arguments.parse_args()
    prepare()
    from django.conf import settings
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from phases import board
    from phases.models import Workflow

    settings.ALLOWED_HOSTS = ["testserver"]
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, 10**9)
    asks: dict[int, Callable[[], Any]] = {}
    for size in SIZES:
        client = Client()
        client.force_login(make_team(size).user, backend="guardian.backends.AuthorityBackend")
        asks[size] = partial(client.get, "/api/v1/board", {"workflow": WORKFLOW})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    queries: dict[int, int] = {}
    shown: dict[int, int] = {}
    for size, ask in asks.items():
        answer = ask()
        assert answer.status_code == 200, answer.content
        columns = answer.json()["columns"]
        assert sum(column["total"] for column in columns) == size
        shown[size] = sum(len(column["cards"]) for column in columns)
        with CaptureQueriesContext(
            connection,
        ) as seen:
            ask()
        queries[size] = len(seen)

    flow = Workflow.objects.get(team__slug=f"bench-{SIZES[-1]}", key=WORKFLOW)
    with CaptureQueriesContext(connection) as seen:
        board.snapshot(flow)
    own = len(seen)

    took: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(asked.requests):
        for size, ask in asks.items():
            took[size].append(timed(ask) * 1000)

    print("| tickets | cards shown | queries | median ms | p95 ms |\n|---:|---:|---:|---:|---:|")
    for size, values in took.items():
        middle, late = statistics.median(values), percentile(values, 95)
        print(f"| {size:,} | {shown[size]} | {queries[size]} | {middle:.1f} | {late:.1f} |")
    return conclude(
        [
            Goal("queries of the read model itself", own, at_most=5),
            Goal("queries at 10,000 / at 10", queries[10_000] / queries[10], at_most=1.0),
            Goal(
                "p95 at 10,000 / at 1,000",
                percentile(took[10_000], 95) / percentile(took[1_000], 95),
                at_most=1.2,
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
