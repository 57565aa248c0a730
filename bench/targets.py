"""How long an agent waits: claims and gates against the targets of the specification.

These are milliseconds and not ratios, as the platform's row P10 has them: a target is what an
agent is promised on a machine that does nothing else. A busy one misses them without being slow.

- claim: `phases.services.claim_tasks` among 2,000 ready tasks, 99th percentile ≤ 50 ms
- gate: `phases.services.validate_gate` on 1,000 artifacts of one ticket, 95th percentile ≤ 200 ms
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from bench._measure import Goal, conclude, percentile, prepare, timed

READY = 2_000
ARTIFACTS = 1_000
WORKFLOW = "software_development"


def cast() -> tuple[Any, Any]:
    """An operator and an agent of a team with the shipped workflows."""
    from guardian import services as guardian
    from guardian.authority import actor_for
    from phases import services

    guardian.build_first_pack()
    team = guardian.create_team(slug="bench", name="Bench")
    services.seed_team(team=team)
    lead = guardian.create_user(username="bench-lead")
    guardian.set_membership(user=lead, team=team, role="operator")
    agent = guardian.create_user(username="bench-agent", kind="agent")
    guardian.set_membership(user=agent, team=team, role="agent")
    return actor_for(lead, team), actor_for(agent, team)


def claims(lead: Any, agent: Any) -> Callable[[], float]:
    """One claim with its end; what it measures is the claim alone."""
    from phases import services

    ticket = services.open_ticket(actor=lead, title="Many pieces", workflow=WORKFLOW)
    for number in range(READY):
        services.create_task(
            actor=lead,
            ticket=ticket,
            task_type="noop",
            title=f"Piece {number}",
            required_capabilities=["noop"],
        )

    def once() -> float:
        found: list[Any] = []
        seconds = timed(
            lambda: found.extend(services.claim_tasks(actor=agent, capabilities=["noop"]))
        )
        taken = found[0].taken
        services.complete_task(actor=agent, task_id=taken.task_id, fence=taken.fence, result={})
        return seconds

    return once


def gates(lead: Any) -> Callable[[], float]:
    from phases import services

    ticket = services.open_ticket(actor=lead, title="Much evidence", workflow=WORKFLOW)
    for number in range(ARTIFACTS):
        services.add_artifact(
            actor=lead,
            ticket_id=ticket.pk,
            artifact_type="document",
            path=f"notes/{number}.md",
            content=f"# Note {number}",
        )
    return lambda: timed(lambda: services.validate_gate(actor=lead, ticket_id=ticket.pk))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=300, help="of each kind")
    asked = arguments.parse_args()
    prepare()
    lead, agent = cast()
    tried = {
        "claim, p99": (claims(lead, agent), 99, 50.0),
        "gate on 1,000 artifacts, p95": (gates(lead), 95, 200.0),
    }
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    taken: dict[str, list[float]] = {name: [] for name in tried}
    for number in range(asked.calls + 10):
        for name, (once, _, _) in tried.items():
            seconds = once()
            if number >= 10:
                taken[name].append(1000 * seconds)
    print("| wait | median ms | at the percentile | longest |\n|---|---:|---:|---:|")
    goals = []
    for name, (_, percent, most) in tried.items():
        reached = percentile(taken[name], percent)
        middle, longest = percentile(taken[name], 50), max(taken[name])
        print(f"| {name} | {middle:.1f} | {reached:.1f} | {longest:.1f} |")
        goals.append(Goal(f"{name}, ms", reached, at_most=most))
    return conclude(goals)


if __name__ == "__main__":
    sys.exit(main())
