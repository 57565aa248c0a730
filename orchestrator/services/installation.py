"""What every installation has before it starts."""

from uuid import UUID, uuid5

from django.conf import settings
from django.db import transaction

from guardian import services as guardian
from guardian.models import Team
from orchestrator.services.agents import seed_agents
from orchestrator.services.demo import open_demo_ticket
from orchestrator.services.patterns import seed_patterns
from phases import services as phases
from tools import services as tools


def attempt_id(*, task_id: UUID, fence: int) -> UUID:
    """The run of work that no execution of ours stands for: one per task and fence."""
    return uuid5(task_id, f"fence {fence}")


@transaction.atomic
def bootstrap() -> Team:
    """What every installation has before it starts: team, admin, price pack, workflows,
    agents with their tools, and a ticket to look at.

    Doing it again changes nothing that exists.
    """
    team = Team.objects.filter(slug="main").first()
    if team is None:
        team = guardian.create_team(slug="main", name="Main")
    admin = guardian.ensure_admin(
        team=team, password=settings.ADMIN_PASSWORD, printed=settings.ADMIN_PASSWORD_PRINTED
    )
    guardian.build_first_pack()
    guardian.seed_schedules(team=team)
    tools.tell_lowered_floor()
    phases.seed_team(team=team)
    seed_patterns(strict=False)
    seed_agents(team=team)
    if settings.DEMO:
        open_demo_ticket(team=team)
    if settings.BOOTSTRAP_TOKEN:
        guardian.ensure_bootstrap_token(text=settings.BOOTSTRAP_TOKEN, team=team, user=admin)
    return team
