"""Teams, users and what they are to each other."""

from django.db import transaction

from guardian import events
from guardian.authority import AUTHORITY_CEILING, DEFAULT_AUTHORITY
from guardian.errors import AlreadyExists, Invalid
from guardian.models import Membership, Team, User
from guardian.outbox import emit


@transaction.atomic
def create_team(*, slug: str, name: str) -> Team:
    """A new team; the apps above seed it when they hear of it. Raises AlreadyExists."""
    if Team.objects.filter(slug=slug).exists():
        raise AlreadyExists(f"A team {slug!r} exists already.", slug=slug)
    team = Team.objects.create(slug=slug, name=name)
    emit(events.TEAM_CREATED, subject=team, team_id=team.pk, slug=slug)
    return team


@transaction.atomic
def create_user(
    *,
    username: str,
    kind: str = User.Kind.HUMAN,
    password: str | None = None,
    display_name: str = "",
    is_staff: bool = False,
) -> User:
    """Raises AlreadyExists."""
    if User.objects.filter(username=username).exists():
        raise AlreadyExists(f"A user {username!r} exists already.", username=username)
    return User.objects.create_user(
        username, password, kind=kind, display_name=display_name, is_staff=is_staff
    )


@transaction.atomic
def set_membership(
    *, user: User, team: Team, role: str, authority: int | None = None
) -> Membership:
    """Put a user into a team, or change what they are there. Raises Invalid above the ceiling."""
    level = DEFAULT_AUTHORITY[role] if authority is None else authority
    ceiling = AUTHORITY_CEILING[role] if user.kind != User.Kind.SERVICE else 5
    if not 1 <= level <= ceiling:
        raise Invalid(path="authority", reason=f"must be from 1 to {ceiling} for role {role}")
    membership, _ = Membership.objects.update_or_create(
        user=user, team=team, defaults={"role": role, "authority": level}
    )
    return membership


@transaction.atomic
def ensure_admin(*, team: Team, password: str) -> User:
    """The first person: user `admin`, level 5. An existing password is never overwritten."""
    user = User.objects.filter(username="admin").first()
    if user is None:
        user = create_user(username="admin", password=password, is_staff=True)
    set_membership(user=user, team=team, role="admin", authority=5)
    return user
