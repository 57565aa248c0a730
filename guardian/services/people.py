"""Verbs of an operator on people, agents and teams. Nobody gives or takes above their own level."""

import re
import secrets
from typing import Any
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from guardian import events
from guardian.authority import STAFF_ROLES, SYSTEM, Actor, require_level, require_scope
from guardian.errors import AlreadyExists, Forbidden, IllegalTransition, Invalid, NotFound
from guardian.models import Membership, Team, User
from guardian.outbox import emit
from guardian.services.lock_ends import release_locks_of_user
from guardian.services.teams import create_team, create_user, set_membership

SCOPE = "team:admin"
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,149}", re.IGNORECASE)
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")


@transaction.atomic
def add_user(
    *,
    actor: Actor,
    username: str,
    role: str,
    reason: str,
    kind: str = User.Kind.HUMAN,
    authority: int | None = None,
    display_name: str = "",
) -> tuple[User, str]:
    """A new user in the actor's team, and a person's first password, which is told only now.

    Agents and services have none: they come with tokens. Services need level 5.
    Raises ScopeMissing, AuthorityTooLow, AlreadyExists, Invalid.
    """
    require_scope(actor, SCOPE)
    if kind == User.Kind.SERVICE:
        require_level(actor, SYSTEM)
    if (role == Membership.Role.AGENT) != (kind == User.Kind.AGENT):
        raise Invalid(path="role", reason="agent is the role of agents, and of them alone")
    if not _USERNAME.fullmatch(username):
        raise Invalid(path="username", reason="takes letters, digits and . _ @ + - only")
    password = _first_password() if kind == User.Kind.HUMAN else ""
    user = create_user(
        username=username,
        kind=kind,
        password=password or None,
        display_name=display_name,
        is_staff=kind == User.Kind.HUMAN and role in STAFF_ROLES,
    )
    if password:
        user.has_first_password = True
        user.save(update_fields=["has_first_password"])
    _tell(events.USER_CREATED, actor, user, reason)
    set_membership(
        user=user, team=actor.team, role=role, authority=authority, actor=actor, reason=reason
    )
    return user, password


@transaction.atomic
def admit_user(
    *, actor: Actor, username: str, role: str, reason: str, authority: int | None = None
) -> Membership:
    """Put a user who exists into the actor's team, beside the teams they are in.

    Raises ScopeMissing, AuthorityTooLow, AlreadyExists, Invalid.
    """
    require_scope(actor, SCOPE)
    user = User.objects.select_for_update().filter(username=username).first()
    if user is None or user.kind == User.Kind.SERVICE:
        raise Invalid(path="username", reason="nobody logs in with this name; add a user instead")
    if user.memberships.filter(team_id=actor.team_id).exists():
        raise AlreadyExists(
            f"{username} is in {actor.team} already.",
            remedy="Change their role there instead.",
            username=username,
        )
    if (role == Membership.Role.AGENT) != (user.kind == User.Kind.AGENT):
        raise Invalid(path="role", reason="agent is the role of agents, and of them alone")
    membership = set_membership(
        user=user, team=actor.team, role=role, authority=authority, actor=actor, reason=reason
    )
    _keep_door(user)
    return membership


@transaction.atomic
def change_role(
    *, actor: Actor, membership_id: UUID, role: str, authority: int, reason: str
) -> Membership:
    """What a user is in the actor's team from now on, with the next request.

    Raises NotFound, ScopeMissing, AuthorityTooLow, Forbidden, Invalid.
    """
    require_scope(actor, SCOPE)
    found = Membership.objects.select_related("user", "team")
    membership = found.filter(pk=membership_id, team_id=actor.team_id).first()
    if membership is None:
        raise NotFound("There is no such membership here.")
    user = membership.user
    if user.pk == actor.id:
        raise Forbidden("Nobody changes their own role.", remedy="Ask another admin.")
    if (role == Membership.Role.AGENT) != (user.kind == User.Kind.AGENT):
        raise Invalid(path="role", reason="agent is the role of agents, and of them alone")
    changed = set_membership(
        user=user, team=membership.team, role=role, authority=authority, actor=actor, reason=reason
    )
    _keep_door(user)
    return changed


@transaction.atomic
def deactivate_user(*, actor: Actor, user_id: UUID, reason: str) -> User:
    """Nothing this user has opens a door any more: password, sessions, tokens.

    Raises NotFound, ScopeMissing, AuthorityTooLow, Forbidden, IllegalTransition.
    """
    return _switch(actor, user_id, on=False, reason=reason)


@transaction.atomic
def reactivate_user(*, actor: Actor, user_id: UUID, reason: str) -> User:
    """Raises NotFound, ScopeMissing, AuthorityTooLow, Forbidden, IllegalTransition."""
    return _switch(actor, user_id, on=True, reason=reason)


@transaction.atomic
def reset_password(*, actor: Actor, user_id: UUID, reason: str) -> str:
    """A new first password for somebody who lost theirs, told only now; their sessions end.

    Raises NotFound, ScopeMissing, AuthorityTooLow, Forbidden.
    """
    user = _subject(actor, user_id)
    if user.kind != User.Kind.HUMAN:
        raise Forbidden("Only people have passwords.", remedy="Make a token instead.")
    password = _first_password()
    user.set_password(password)
    user.password_changed_at, user.has_first_password = None, True
    user.save(update_fields=["password", "password_changed_at", "has_first_password"])
    _tell(events.PASSWORD_RESET, actor, user, reason)
    return password


@transaction.atomic
def change_own_password(*, user: User, present: str, new: str) -> User:
    """Raises Forbidden when the present one is not right, Invalid for one too easy to guess."""
    user = User.objects.select_for_update().get(pk=user.pk)
    if user.kind != User.Kind.HUMAN or not user.check_password(present):
        raise Forbidden("The present password is not right.", remedy="Try it again.")
    if user.has_first_password and new == present:
        raise Invalid(path="new", reason="must be another: an operator knows the first one")
    try:
        validate_password(new, user)
    except ValidationError as error:
        raise Invalid(path="new", reason=" ".join(error.messages)) from error
    user.set_password(new)
    user.password_changed_at, user.has_first_password = timezone.now(), False
    user.save(update_fields=["password", "password_changed_at", "has_first_password"])
    for team_id in user.memberships.values_list("team_id", flat=True):
        emit(events.PASSWORD_CHANGED, subject=user, team_id=team_id, username=user.username)
    return user


@transaction.atomic
def rename_team(*, actor: Actor, name: str, reason: str) -> Team:
    """The actor's own team; its slug stays. Raises ScopeMissing."""
    require_scope(actor, SCOPE)
    team = Team.objects.select_for_update().get(pk=actor.team_id)
    before, team.name = team.name, name
    team.save(update_fields=["name"])
    emit(
        events.TEAM_RENAMED,
        subject=team,
        actor=actor,
        reason=reason,
        before={"name": before},
        after={"name": name},
    )
    return team


@transaction.atomic
def found_team(*, actor: Actor, slug: str, name: str, reason: str) -> Team:
    """A new team with the actor as its admin. Raises ScopeMissing, AuthorityTooLow, Invalid,
    AlreadyExists."""
    require_scope(actor, SCOPE)
    require_level(actor, SYSTEM)
    if not _SLUG.fullmatch(slug):
        raise Invalid(path="slug", reason="takes small letters, digits and hyphens")
    team = create_team(slug=slug, name=name)
    set_membership(user=actor.user, team=team, role="admin", authority=SYSTEM, reason=reason)
    return team


def _first_password() -> str:
    return secrets.token_urlsafe(15)


def _tell(kind: str, actor: Actor, user: User, reason: str) -> None:
    facts: dict[str, Any] = {"username": user.username, "kind_of_user": user.kind}
    emit(kind, subject=user, actor=actor, reason=reason, **facts)


def _subject(actor: Actor, user_id: UUID) -> User:
    """A user of the actor's team that the actor may act upon. Raises as the verbs say."""
    require_scope(actor, SCOPE)
    user = User.objects.select_for_update().filter(pk=user_id).first()
    if user is None or not user.memberships.filter(team_id=actor.team_id).exists():
        raise NotFound("There is no such user in this team.")
    if user.pk == actor.id:
        raise Forbidden("Nobody does this to themselves.", remedy="Ask another admin.")
    highest = user.memberships.aggregate(n=Max("authority"))["n"]
    elsewhere = user.memberships.exclude(team_id=actor.team_id).exists()
    require_level(actor, SYSTEM if elsewhere else highest)
    return user


def _switch(actor: Actor, user_id: UUID, *, on: bool, reason: str) -> User:
    user = _subject(actor, user_id)
    if user.is_active == on:
        word = "active" if on else "deactivated"
        raise IllegalTransition(f"This user is {word} already.", allowed=[])
    user.is_active = on
    user.save(update_fields=["is_active"])
    _tell(events.USER_REACTIVATED if on else events.USER_DEACTIVATED, actor, user, reason)
    if not on:
        release_locks_of_user(user_id=user.pk, reason="their holder was deactivated")
    return user


def _keep_door(user: User) -> None:
    """The admin is open to people as long as a role of theirs opens it."""
    is_staff = (
        user.kind == User.Kind.HUMAN and user.memberships.filter(role__in=STAFF_ROLES).exists()
    )
    if user.is_staff != is_staff:
        user.is_staff = is_staff
        user.save(update_fields=["is_staff"])
