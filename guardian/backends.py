"""Passwords and permissions for Django: both answered by guardian, no permission rows anywhere."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from guardian.authority import STAFF_ROLES
from guardian.models import User


class AuthorityBackend(BaseBackend):
    """Logs people in and answers has_perm from their role: viewing needs staff, changing admin."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **_: Any,
    ) -> User | None:
        user = User.objects.filter(username=username or "").first()
        if user is None:
            User().set_password(password)  # the same time for unknown names
            return None
        if user.kind == User.Kind.HUMAN and user.is_active and user.check_password(password or ""):
            return user
        return None

    def get_user(self, user_id: Any) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        roles = _roles(user_obj)
        if not roles:
            return False
        action = perm.rpartition(".")[2].partition("_")[0]
        if action == "view":
            return bool(roles & STAFF_ROLES)
        return "admin" in roles

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return bool(_roles(user_obj) & STAFF_ROLES)


def _roles(user: User) -> frozenset[str]:
    if not user.is_active:
        return frozenset()
    cached = getattr(user, "_lemnos_roles", None)
    if cached is None:
        cached = frozenset(user.memberships.values_list("role", flat=True))
        user._lemnos_roles = cached  # type: ignore[attr-defined]  # noqa: SLF001  per-request memo
    return cached
