"""People, agents, teams and their tokens in the operators' admin."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from guardian import models, row_panels, services, stops
from guardian.authority import (
    GUARDIAN,
    SYSTEM,
    Actor,
    actor_for,
)
from guardian.errors import Forbidden
from guardian.identity import session_actor
from guardian.operators import RecordAdmin, Secret, reasoned_action
from guardian.people_fields import (
    TEAM,
    admit_fields,
    role_fields,
    team_fields,
    token_fields,
    user_fields,
)


@admin.register(models.User)
class UserAdmin(RecordAdmin):
    section = "People"
    icon = "person"
    team_path = "memberships__team"
    list_display = ["username", "display_name", "kind", "is_staff", "is_active", "created_at"]
    list_filter = ["kind", "is_staff", "is_active"]
    search_fields = ["username", "display_name"]
    exclude = ["password"]

    @reasoned_action(label="Add a user", scope=TEAM, on_list=True, fields=user_fields)
    def add_user(
        self, *, actor: Actor, reason: str, team: models.Team, **values: Any
    ) -> Secret | str:
        """Makes a user in a team. A person gets a first password, an agent its own tokens."""
        actor = actor_for(actor.user, team)
        user, password = services.add_user(actor=actor, reason=reason, **values)
        if not password:
            return f"{user.username} is in {actor.team}. Make a token for it next."
        said = f"{user.username} logs in with this password and is asked for another at once."
        return Secret(said=said, value=password)

    @reasoned_action(
        label="New first password",
        scope=TEAM,
        danger=True,
        bulk=False,
        fits=lambda user: user.kind == models.User.Kind.HUMAN,
    )
    def reset_password(self, *, actor: Actor, row: models.User, reason: str) -> Secret:
        """For somebody who lost theirs: the present password and its sessions end at once."""
        password = services.reset_password(actor=actor, user_id=row.pk, reason=reason)
        return Secret(
            said=f"{row.username} logs in with this and is asked for another at once.",
            value=password,
        )

    @reasoned_action(label="Deactivate", scope=TEAM, danger=True, fits=lambda user: user.is_active)
    def deactivate(self, *, actor: Actor, row: models.User, reason: str) -> None:
        """Nothing of this user opens a door any more: password, sessions and tokens.

        Somebody who is in other teams, too, is deactivated by level 5 alone.
        """
        services.deactivate_user(actor=actor, user_id=row.pk, reason=reason)

    @reasoned_action(label="Reactivate", scope=TEAM, fits=lambda user: not user.is_active)
    def reactivate(self, *, actor: Actor, row: models.User, reason: str) -> None:
        """Password and tokens work again as they did."""
        services.reactivate_user(actor=actor, user_id=row.pk, reason=reason)

    def actor_on(self, request: HttpRequest, row: models.User) -> Actor:
        """Who the operator is in a team that both are in."""
        both = set(row.memberships.values_list("team_id", flat=True))
        here = session_actor(request)
        if here.team_id in both:
            return here
        found = request.user.memberships.filter(team_id__in=both).select_related("team").first()  # type: ignore[union-attr]  # only users pass the admin's door
        if found is None:
            raise Forbidden
        return actor_for(found.user, found.team)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).distinct()

    def team_of(self, row: models.User) -> None:
        """A user may be in several teams."""


@admin.register(models.Team)
class TeamAdmin(RecordAdmin):
    section = "People"
    icon = "groups"
    team_path = "id"
    list_display = ["name", "slug", "created_at"]
    list_filter = ["created_at"]
    search_fields = ["name", "slug"]

    def team_of(self, row: models.Team) -> models.Team:
        return row

    @reasoned_action(label="New team", scope=TEAM, level=SYSTEM, on_list=True, fields=team_fields)
    def found(self, *, actor: Actor, reason: str, **values: str) -> str:
        """Makes a team with its workflows, tools and agents; you are its first admin."""
        team = services.found_team(actor=actor, reason=reason, **values)
        return f"{team.name} is there; its workflows follow in seconds."

    @reasoned_action(
        label="Rename…",
        scope=TEAM,
        fields=lambda team: {"name": forms.CharField(max_length=100, initial=team.name)},
    )
    def rename(self, *, actor: Actor, row: models.Team, reason: str, name: str) -> None:
        """Changes what people read; the short name in addresses stays as it is."""
        services.rename_team(actor=actor, name=name, reason=reason)

    @reasoned_action(
        label="Stop new work",
        scope="guardian:intervene",
        level=GUARDIAN,
        danger=True,
        fits=lambda team: stops.stop_of(team.pk) is None,
        fields=lambda _: {
            "everywhere": forms.BooleanField(required=False, label="In every team (needs level 5)")
        },
    )
    def stop_new_work(
        self, *, actor: Actor, row: models.Team, reason: str, everywhere: bool
    ) -> None:
        """Turns the kill switch on: nothing new is claimed or run until somebody turns it off.

        What runs already goes on to its end.
        """
        services.set_kill_switch(actor=actor, on=True, reason=reason, everywhere=everywhere)

    @reasoned_action(
        label="Allow new work again",
        scope="guardian:intervene",
        level=GUARDIAN,
        bulk=False,
        fits=lambda team: stops.stop_of(team.pk) is not None,
    )
    def allow_new_work(self, *, actor: Actor, row: models.Team, reason: str) -> None:
        """Turns the kill switch off, for this team or everywhere, as it was set.

        One that was set everywhere needs level 5.
        """
        stop = stops.stop_of(row.pk)
        everywhere = stop is not None and bool(stop["everywhere"])
        services.set_kill_switch(actor=actor, on=False, reason=reason, everywhere=everywhere)

    def tables(self, row: models.Team) -> list[row_panels.Table]:
        return [row_panels.of_new_work(row)]


@admin.register(models.Membership)
class MembershipAdmin(RecordAdmin):
    section = "People"
    icon = "badge"
    list_display = ["user", "team", "role", "authority"]
    list_filter = ["role", "authority"]
    search_fields = ["user__username", "team__slug"]

    @reasoned_action(label="Put a user into a team", scope=TEAM, on_list=True, fields=admit_fields)
    def admit(self, *, actor: Actor, reason: str, team: models.Team, **values: Any) -> str:
        """Gives somebody who exists already a role in a team, beside the teams they are in."""
        made = services.admit_user(actor=actor_for(actor.user, team), reason=reason, **values)
        return f"{made}, level {made.authority}."

    @reasoned_action(label="Change role…", scope=TEAM, fields=role_fields)
    def change_role(
        self, *, actor: Actor, row: models.Membership, reason: str, role: str, authority: int
    ) -> None:
        """What this user is here from their next request on; at most your own level."""
        services.change_role(
            actor=actor, membership_id=row.pk, role=role, authority=authority, reason=reason
        )

    @reasoned_action(label="Take out of the team", scope=TEAM, danger=True)
    def end(self, *, actor: Actor, row: models.Membership, reason: str) -> None:
        """Tokens and sessions of this user in this team end with their next request."""
        services.end_membership(membership_id=row.pk, actor=actor, reason=reason)


@admin.register(models.ApiToken)
class ApiTokenAdmin(RecordAdmin):
    section = "People"
    icon = "key"
    when_empty = "Make the first one above; it is shown once."
    list_display = ["name", "key_id", "user", "team", "can_write", "expires_at", "revoked_at"]
    list_filter = ["can_write", "team"]
    search_fields = ["name", "key_id", "user__username"]
    exclude = ["secret_hash", "pepper_id"]

    @reasoned_action(
        label="Make a token",
        scope="tokens:self",
        asks_reason=False,
        on_list=True,
        fields=token_fields,
    )
    def make(self, *, actor: Actor, user: models.User, days: int, **values: Any) -> Secret:
        """Makes a credential of a program, for yourself or for an agent of your team."""
        expires_at = timezone.now() + timedelta(days=days)
        token, text = services.create_token(actor=actor, user=user, expires_at=expires_at, **values)
        return Secret(said=f"The token {token.name} of {user}, good for {days} days.", value=text)

    @reasoned_action(
        label="Revoke",
        scope="tokens:self",
        danger=True,
        fits=lambda token: token.revoked_at is None,
    )
    def revoke(self, *, actor: Actor, row: models.ApiToken, reason: str) -> None:
        """Ends this token at once; it never works again. Others' tokens need `tokens:admin`."""
        services.revoke_token(actor=actor, token_id=row.pk, reason=reason)
