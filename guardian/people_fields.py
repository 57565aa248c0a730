"""What the operators' forms on people, teams and tokens ask for."""

from django import forms
from django.db.models import Q

from guardian import models
from guardian.authority import AUTHORITY_CEILING, ROLE_SCOPES, SYSTEM, Actor
from guardian.buttons import Fields

TEAM = "team:admin"
Roles = models.Membership.Role


def user_fields(actor: Actor) -> Fields:
    return {
        "username": forms.CharField(max_length=150, label="Name to log in with"),
        "display_name": forms.CharField(max_length=150, required=False, label="Name to show"),
        "kind": forms.ChoiceField(choices=models.User.Kind.choices),
        "role": forms.ChoiceField(choices=Roles.choices, help_text="Agents have the role agent."),
        **team_choice(actor),
    }


def team_choice(actor: Actor) -> Fields:
    """Into which of the teams that the actor administers; the present one unless chosen."""
    roles = [role for role, scopes in ROLE_SCOPES.items() if TEAM in scopes]
    mine = models.Team.objects.filter(
        memberships__user=actor.user, memberships__role__in=roles
    ).order_by("name")
    return {"team": forms.ModelChoiceField(mine, initial=actor.team_id, empty_label=None)}


def admit_fields(actor: Actor) -> Fields:
    tops = ", ".join(f"{role} {top}" for role, top in AUTHORITY_CEILING.items())
    return {
        "username": forms.CharField(max_length=150, label="Name they log in with"),
        "role": forms.ChoiceField(choices=Roles.choices, help_text="Agents have the role agent."),
        "authority": forms.IntegerField(
            min_value=1,
            max_value=SYSTEM,
            required=False,
            label="Authority level",
            help_text=f"Empty: the role's own. At most: {tops}, and never above yours.",
        ),
        **team_choice(actor),
    }


def team_fields(_actor: Actor) -> Fields:
    return {
        "name": forms.CharField(max_length=100),
        "slug": forms.CharField(max_length=50, label="Short name", help_text="As in addresses."),
    }


def role_fields(membership: models.Membership) -> Fields:
    tops = ", ".join(f"{role} {top}" for role, top in AUTHORITY_CEILING.items())
    return {
        "role": forms.ChoiceField(choices=Roles.choices, initial=membership.role),
        "authority": forms.IntegerField(
            min_value=1,
            max_value=SYSTEM,
            initial=membership.authority,
            label="Authority level",
            help_text=f"At most: {tops}.",
        ),
    }


def token_fields(actor: Actor) -> Fields:
    """For whom, what for, how long, and which of the maker's own scopes."""
    mine = Q(pk=actor.id)
    agents = Q(kind=models.User.Kind.AGENT, memberships__team=actor.team)
    reach = (mine | agents) if actor.has_scope("tokens:admin") else mine
    scopes = sorted(actor.scopes)
    return {
        "user": forms.ModelChoiceField(
            models.User.objects.filter(reach, is_active=True).distinct().order_by("username"),
            initial=actor.id,
            label="Whose",
        ),
        "name": forms.CharField(max_length=100, help_text="What it is for."),
        "days": forms.IntegerField(min_value=1, max_value=365, initial=90, label="Good for days"),
        "scopes": forms.MultipleChoiceField(
            choices=[(scope, scope) for scope in scopes],
            widget=forms.CheckboxSelectMultiple,
            initial=[scope for scope in scopes if scope.endswith(":read")],
        ),
        "can_write": forms.BooleanField(required=False, initial=True, label="May write"),
    }
