"""Plain functions that make rows through the services, so that no impossible fixture exists."""

from guardian import services
from guardian.authority import Actor, actor_for
from guardian.models import Team


def make_team(slug: str = "harbour") -> Team:
    return services.create_team(slug=slug, name=slug.title())


def make_actor(
    team: Team,
    username: str,
    *,
    role: str = "operator",
    kind: str = "human",
    authority: int | None = None,
) -> Actor:
    user = services.create_user(
        username=username,
        kind=kind,
        password="a long pass phrase" if kind == "human" else None,
        is_staff=role in {"operator", "author", "admin"} and kind == "human",
    )
    services.set_membership(user=user, team=team, role=role, authority=authority)
    return actor_for(user, team)
