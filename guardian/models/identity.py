"""Who acts: users of three kinds, teams, memberships and tokens."""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from guardian.models.base import TeamQuerySet, TeamRow, uuid7


class UserManager(BaseUserManager["User"]):
    def create_user(self, username: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(username=username, **fields)
        user.set_password(password)
        user.save(force_insert=True)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(username=username)


class User(AbstractBaseUser):
    """An actor: a human, an agent or a service. What it may do comes from its memberships."""

    class Kind(models.TextChoices):
        HUMAN = "human"
        AGENT = "agent"
        SERVICE = "service"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    username = models.CharField(max_length=150, unique=True)
    display_name = models.CharField(max_length=150, blank=True)
    email = models.EmailField(blank=True)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.HUMAN)
    is_staff = models.BooleanField(default=False, help_text="May enter the admin site.")
    is_active = models.BooleanField(default=True)
    password_changed_at = models.DateTimeField(null=True, blank=True)
    has_first_password = models.BooleanField(
        default=False,
        db_default=False,
        help_text="An operator set it and knows it: its owner is led to choose another.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="user_kind_is_known", condition=Q(kind__in=["human", "agent", "service"])
            )
        ]

    def __str__(self) -> str:
        return self.username

    @property
    def name(self) -> str:
        return self.display_name or self.username

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.username

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        from guardian.backends import AuthorityBackend

        return self.is_active and AuthorityBackend().has_perm(self, perm, obj)

    def has_perms(self, perms: list[str], obj: Any = None) -> bool:
        return all(self.has_perm(perm, obj) for perm in perms)

    def has_module_perms(self, app_label: str) -> bool:
        from guardian.backends import AuthorityBackend

        return self.is_active and AuthorityBackend().has_module_perms(self, app_label)


class Team(models.Model):
    """The border of everything: rows of one team are unknown to all others."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    settings = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """What a user is in a team: a role and an authority level from 1 to 5."""

    class Role(models.TextChoices):
        VIEWER = "viewer"
        OPERATOR = "operator"
        AUTHOR = "author"
        ADMIN = "admin"
        AGENT = "agent"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    authority = models.PositiveSmallIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="membership_is_one_per_user_and_team", fields=["user", "team"]
            ),
            models.CheckConstraint(
                name="membership_authority_is_between_1_and_5",
                condition=Q(authority__gte=1, authority__lte=5),
            ),
            models.CheckConstraint(
                name="membership_role_is_known",
                condition=Q(role__in=["viewer", "operator", "author", "admin", "agent"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} as {self.role}"


class ApiToken(TeamRow):
    """A credential of a program. Only its keyed hash is stored, so it is shown once."""

    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    key_id = models.CharField(
        max_length=12, unique=True, validators=[RegexValidator(r"^[0-9A-Za-z]{12}$")]
    )
    secret_hash = models.CharField(max_length=64, editable=False)
    pepper_id = models.CharField(max_length=32, editable=False)
    scopes = ArrayField(models.CharField(max_length=64), default=list)
    can_write = models.BooleanField(default=True)
    allowed_ips = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    authority_cap = models.PositiveSmallIntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.GenericIPAddressField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")

    objects = TeamQuerySet.as_manager()

    class Meta:
        verbose_name = "API token"
        constraints = [
            models.CheckConstraint(
                name="token_authority_cap_is_between_1_and_5",
                condition=Q(authority_cap=None) | Q(authority_cap__gte=1, authority_cap__lte=5),
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.key_id})"
