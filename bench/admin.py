"""Lists of the admin at 1,000 and 100,000 rows: the time of a page, and what it asks.

Two teams in one database; requests go in turn through the whole stack, in this process, as a
member of one team alone.
"""

import argparse
import statistics
import sys
from functools import partial
from typing import Any

from bench._measure import Goal, conclude, interleaved, prepare, timed

FEW, MANY = 1_000, 100_000
MOST = 1.5
LISTS = ("guardian/event", "phases/ticket")
EVENTS = """
INSERT INTO guardian_event (id, seq, team_id, kind, priority, actor_kind, subject_label,
    subject_id, data, reason, request_id, traceparent, source, created_at, prev_hash, hash)
SELECT gen_random_uuid(), n + %(first)s, %(team)s, 'bench.row.made', 3, 'system', 'bench.row',
       n::text, '{}', '', '', '', 'internal', now() - n * interval '1 second', '', ''
  FROM generate_series(1, %(rows)s) n
"""


def make_team(slug: str, rows: int) -> Any:
    """A team with so many events and tickets, and a browser of one of its operators."""
    from django.db import connection, transaction
    from django.test import Client
    from django.utils import timezone

    from guardian import services as guardian
    from guardian.models import Event
    from phases import services
    from phases.models import Phase, Ticket, Workflow

    team = guardian.create_team(slug=slug, name=slug)
    services.seed_team(team=team)
    user = guardian.create_user(username=slug, is_staff=True)
    guardian.set_membership(user=user, team=team, role="operator")
    phase = Phase.objects.filter(workflow__team=team, kind="work").select_related("workflow")[0]
    flow = Workflow.objects.get(pk=phase.workflow_id)
    first = (
        Event.objects.exclude(seq=None).order_by("-seq").values_list("seq", flat=True).first() or 0
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(EVENTS, {"team": team.pk, "rows": rows, "first": first + 1})
        Ticket(
            team=team,
            workflow=flow,
            number=1,
            title="Piece of work",
            phase=phase,
            column_id=phase.column_id,
            created_by=user,
            phase_entered_at=timezone.now(),
            rank=1.0,
        ).save(force_insert=True)
        own = {"id": "gen_random_uuid()", "number": "n"}
        names = [str(field.column) for field in Ticket._meta.concrete_fields]
        cursor.execute(
            f"INSERT INTO phases_ticket ({', '.join(names)})"
            f" SELECT {', '.join(own.get(name, 't.' + name) for name in names)}"
            " FROM phases_ticket t, generate_series(2, %s) n WHERE t.team_id = %s",
            [rows, team.pk],
        )
    client = Client()
    client.force_login(user)
    return client


def visit(client: Any, path: str) -> None:
    answer = client.get(f"/admin/{path}/")
    assert answer.status_code == 200, (path, answer.status_code)
    assert len(answer.context["cl"].result_list) == 50


def queries(client: Any, path: str) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as seen:
        visit(client, path)
    return len(seen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    prepare()
    from django.db import connection
    from django.test.utils import setup_test_environment

    setup_test_environment()
    few, many = make_team("bench-few", FEW), make_team("bench-many", MANY)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    goals = []
    for path in LISTS:
        contestants = {
            "few": partial(timed, partial(visit, few, path)),
            "many": partial(timed, partial(visit, many, path)),
        }
        seconds = interleaved(contestants, rounds=wanted.rounds)
        middle = {name: statistics.median(values) for name, values in seconds.items()}
        asked = [queries(client, path) for client in (few, many)]
        for name, rows in (("few", FEW), ("many", MANY)):
            print(f"{path} with {rows:>7,} rows: {middle[name] * 1000:6.0f} ms")
        goals += [
            Goal(
                f"{path}: 100,000 rows / 1,000 rows", middle["many"] / middle["few"], at_most=MOST
            ),
            Goal(f"{path}: queries", float(max(asked)), at_most=12),
        ]
    return conclude(goals)


if __name__ == "__main__":
    sys.exit(main())
