"""Teams, users and what they are to each other."""

from uuid import UUID

from django.db import IntegrityError, transaction

from guardian import events
from guardian.authority import (
    AGENT_GUARDIAN_CEILING,
    AUTHORITY_CEILING,
    DEFAULT_AUTHORITY,
    SYSTEM,
    Actor,
    require_level,
    require_scope,
)
from guardian.errors import AlreadyExists, Forbidden, Invalid, NotFound
from guardian.models import Membership, Team, User
from guardian.outbox import emit
from guardian.services.lock_ends import release_locks_of_user


@transaction.atomic
def create_team(*, slug: str, name: str) -> Team:
    """A new team; the apps above seed it when they hear of it. Raises AlreadyExists."""
    try:
        with transaction.atomic():
            team = Team.objects.create(slug=slug, name=name)
    except IntegrityError as error:
        raise AlreadyExists(f"A team {slug!r} exists already.", slug=slug) from error
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
    try:
        with transaction.atomic():
            return User.objects.create_user(
                username, password, kind=kind, display_name=display_name, is_staff=is_staff
            )
    except IntegrityError as error:
        raise AlreadyExists(f"A user {username!r} exists already.", username=username) from error


@transaction.atomic
def set_membership(
    *,
    user: User,
    team: Team,
    role: str,
    authority: int | None = None,
    actor: Actor | None = None,
    reason: str = "",
) -> Membership:
    """Put a user into a team, or change what they are there.

    `actor`: who does it, needs `team:admin` and gives at most their own level; without one it is
    Lemnos itself. Raises Invalid above the role's ceiling, ScopeMissing, AuthorityTooLow.
    """
    level = DEFAULT_AUTHORITY[role] if authority is None else authority
    before = Membership.objects.select_for_update().filter(user=user, team=team).first()
    if actor is not None:
        require_scope(actor, "team:admin")
        require_level(actor, max(level, before.authority if before else 1))
    ceiling = _ceiling(user, role, actor)
    if not 1 <= level <= ceiling:
        raise Invalid(path="authority", reason=f"must be from 1 to {ceiling} for role {role}")
    if before is not None and (before.role, before.authority) == (role, level):
        return before
    membership, _ = Membership.objects.update_or_create(
        user=user, team=team, defaults={"role": role, "authority": level}
    )
    emit(
        events.MEMBERSHIP_CHANGED,
        subject=membership,
        actor=actor,
        team_id=team.pk,
        before={"role": before.role, "authority": before.authority} if before else None,
        after={"role": role, "authority": level},
        reason=reason,
        user_id=str(user.pk),
    )
    return membership


@transaction.atomic
def end_membership(*, membership_id: UUID, actor: Actor, reason: str) -> None:
    """Take a user out of a team: their tokens and sessions there end with the next request.

    Raises NotFound, ScopeMissing, AuthorityTooLow, Forbidden.
    """
    require_scope(actor, "team:admin")
    membership = Membership.objects.filter(pk=membership_id, team_id=actor.team_id).first()
    if membership is None:
        raise NotFound("There is no such membership here.")
    require_level(actor, membership.authority)
    if membership.user_id == actor.id:
        raise Forbidden("Nobody takes themselves out of a team.", remedy="Ask another admin.")
    emit(
        events.MEMBERSHIP_CHANGED,
        subject=membership,
        actor=actor,
        team_id=membership.team_id,
        before={"role": membership.role, "authority": membership.authority},
        reason=reason,
        user_id=str(membership.user_id),
    )
    membership.delete()
    release_locks_of_user(
        user_id=membership.user_id, team_id=actor.team_id, reason="their holder left the team"
    )


def _ceiling(user: User, role: str, actor: Actor | None) -> int:
    if user.kind == User.Kind.SERVICE:
        return SYSTEM
    by_the_highest = actor is not None and actor.authority == SYSTEM
    if role == Membership.Role.AGENT and by_the_highest:
        return AGENT_GUARDIAN_CEILING
    return AUTHORITY_CEILING[role]


@transaction.atomic
def ensure_admin(*, team: Team, password: str, printed: bool = False) -> User:
    """The first person: user `admin`, level 5. An existing password is never overwritten.

    `printed`: it was made up and shown, so its owner is asked for another after login.
    """
    user = User.objects.filter(username="admin").first()
    if user is None:
        user = create_user(username="admin", password=password, is_staff=True)
        user.has_first_password = printed
        user.save(update_fields=["has_first_password"])
    set_membership(user=user, team=team, role="admin", authority=5)
    return user
