"""The plainest REST framework view of a ticket: what bench/api.py measures ours against."""

import hashlib
from typing import Any

from django.urls import path
from rest_framework import permissions
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from guardian.models import ApiToken
from phases.api import TicketViewSet
from phases.serializers import TicketSerializer


class PlainToken(BaseAuthentication):
    """One look-up with the user, as REST framework's own token authentication does it."""

    def authenticate(self, request: Request) -> tuple[Any, Any]:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        hashlib.sha256(text.encode()).hexdigest()
        key = text[4:16]
        token = ApiToken.objects.select_related("user").filter(key_id=key).first()
        if token is None:
            raise AuthenticationFailed
        return token.user, token


class PlainTicket(APIView):
    """The row and its shape, nothing else."""

    authentication_classes = [PlainToken]
    permission_classes = [permissions.IsAuthenticated]

    def get(self, request: Request, pk: str) -> Response:
        ticket = TicketViewSet.queryset.get(pk=pk)
        return Response(TicketSerializer(ticket).data)


urlpatterns = [path("api/v1/tickets/<uuid:pk>", PlainTicket.as_view())]
