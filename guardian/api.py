"""Guardian's part of the REST API: tokens."""

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import errors, services
from guardian.http import TeamViewSet, validated
from guardian.models import ApiToken, User
from guardian.serializers import Myself, Reason, TokenCreate, TokenMade, TokenSerializer


class TokenViewSet(TeamViewSet):
    """Credentials of programs."""

    queryset = ApiToken.objects.all()
    serializer_class = TokenSerializer
    filters = {
        "user": "user__username",
        "name": "name",
        "key_id": "key_id",
        "can_write": "can_write",
        "expires_at": "expires_at",
        "last_used_at": "last_used_at",
        "revoked_at": "revoked_at",
        "created_at": "created_at",
    }
    searched = ("name", "user__username")
    scopes = {
        "list": "tokens:self",
        "retrieve": "tokens:self",
        "create": "tokens:self",
        "own": "tokens:self",
        "revoke": "tokens:self",
    }

    def get_queryset(self) -> QuerySet[Any]:
        queryset = super().get_queryset()
        if self.actor.has_scope("tokens:admin"):
            return queryset
        return queryset.filter(user=self.actor.user)

    @extend_schema(request=TokenCreate, responses={201: TokenMade})
    def create(self, request: Request) -> Response:
        """Make a token, of your own or of an agent; its text is in this answer and in no other."""
        fields = validated(TokenCreate, request.data)
        owner = None
        if "user" in fields:
            owner = self._member(fields.pop("user"))
            if owner is None:
                raise errors.NotFound("There is no such user in this team.")
        token, text = services.create_token(actor=self.actor, user=owner, **fields)
        body = {"id": str(token.pk), "key_id": token.key_id, "token": text}
        return Response(body, status=201)

    def _member(self, name: str) -> User | None:
        members = User.objects.filter(memberships__team=self.actor.team)
        try:
            return members.filter(Q(username=name) | Q(pk=UUID(name))).first()
        except ValueError:  # no id, so a name alone
            return members.filter(username=name).first()

    @extend_schema(responses=Myself)
    @action(detail=False, methods=["get"], url_path="self")
    def own(self, request: Request) -> Response:
        """Who asks, in which team, and what they may."""
        actor = self.actor
        token = ApiToken.objects.filter(pk=actor.token_id).first() if actor.token_id else None
        return Response(
            {
                "user": {"id": str(actor.id), "username": actor.user.username},
                "kind": actor.kind,
                "team": {"id": str(actor.team_id), "slug": actor.team.slug},
                "role": actor.role,
                "authority": actor.authority,
                "scopes": sorted(actor.scopes),
                "token_id": str(actor.token_id) if actor.token_id else None,
                "expires_at": token.expires_at if token else None,
            }
        )

    @extend_schema(request=Reason, responses=TokenSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: UUID) -> Response:
        """Revoke a token; within a second it opens nothing."""
        token = services.revoke_token(
            actor=self.actor, token_id=pk, **validated(Reason, request.data)
        )
        return Response(TokenSerializer(token).data)
