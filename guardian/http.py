"""What every API view shares: identity, scopes, strict bodies, versions, idempotency, lists."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Model, QuerySet
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from guardian import errors
from guardian.authority import Actor
from guardian.idempotency import once, run_once
from guardian.identity import PUBLIC, ScopePermission, actor_of, client_address, session_actor
from guardian.pages import ListQuery, Page, is_whole_number
from guardian.problems import PROBLEM, problem_handler, problem_response
from guardian.strict import StrictSerializer

__all__ = [
    "PROBLEM",
    "PUBLIC",
    "ListQuery",
    "Page",
    "StrictSerializer",
    "TeamView",
    "TeamViewSet",
    "actor_of",
    "client_address",
    "etag_of",
    "is_whole_number",
    "once",
    "problem_handler",
    "problem_response",
    "run_once",
    "session_actor",
    "validated",
    "version_from",
]


def missing_scopes(resolver: Any, prefix: str = "") -> Iterator[str]:
    """Each route and action of a DRF view that names no scope."""
    for pattern in resolver.url_patterns:
        where = f"{prefix}{pattern.pattern}"
        if hasattr(pattern, "url_patterns"):
            yield from missing_scopes(pattern, where)
            continue
        view = getattr(pattern.callback, "cls", None)
        if view is None or not issubclass(view, APIView):
            continue
        if ScopePermission not in view.permission_classes:
            continue
        actions = getattr(pattern.callback, "actions", None)
        if actions is None:
            names = [m for m in ("get", "post", "put", "patch", "delete") if hasattr(view, m)]
        else:
            names = list(actions.values())
        declared = getattr(view, "scopes", {})
        yield from (f"{where} {name}" for name in names if name not in declared)


# Bodies


def validated(serializer_class: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """The checked body as keyword arguments. Raises ValidationError, which becomes a problem."""
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


# Versions


def etag_of(obj: Model) -> str:
    return f'"v{_edits_of(obj)}"'


def _edits_of(obj: Model) -> int | None:
    """The row's counter of edits; None where it has none."""
    columns = {field.attname for field in obj._meta.concrete_fields}
    name = next((name for name in ("revision", "version") if name in columns), None)
    return getattr(obj, name) if name else None


def version_from(request: Request, *, required: bool) -> int | None:
    """The version in If-Match; None for `*` or, where it is optional, for none.

    Raises VersionRequired, Invalid.
    """
    header = request.headers.get("If-Match", "").strip()
    if not header:
        if required:
            raise errors.VersionRequired
        return None
    if header == "*":
        return None
    text = header.removeprefix("W/").strip('"').removeprefix("v")
    if not is_whole_number(text) or len(text) > 9:
        raise errors.Invalid(path="If-Match", reason='must look like "v3"')
    return int(text)


# Views


class Conventions(APIView):
    """What holds for every view: a scope for each action, each POST at most once under a key."""

    scopes: ClassVar[Mapping[str, str]] = {}
    # POSTs that change nothing: a key would only bring back an old answer.
    reading_posts: ClassVar[frozenset[str]] = frozenset()
    # POSTs that call `once` themselves, because something must happen outside its transaction.
    own_once: ClassVar[frozenset[str]] = frozenset()
    # Changes that need If-Match, so that nobody overwrites what they have not seen.
    version_required: ClassVar[frozenset[str]] = frozenset()

    @property
    def actor(self) -> Actor:
        return actor_of(self.request)

    @property
    def verb(self) -> str:
        """The action, or the method where a view has no actions."""
        return getattr(self, "action", None) or (self.request.method or "").lower()

    def version(self) -> int | None:
        """The version in If-Match. Raises VersionRequired, Invalid."""
        return version_from(self.request, required=self.verb in self.version_required)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        keyed = request.method == "POST" and request.headers.get("Idempotency-Key")
        if not keyed or self.verb in self.reading_posts | self.own_once:
            return
        handler: Callable[..., Response] = getattr(self, self.verb)

        def at_most_once(request: Request, *a: Any, **k: Any) -> Response:
            return run_once(
                request, lambda: handler(request, *a, **k), on_error=self.handle_exception
            )

        self.__dict__["post"] = at_most_once  # REST framework asks for it by name after this


class TeamView(Conventions):
    """A view that is no set of rows."""


class TeamViewSet(Conventions, viewsets.GenericViewSet[Any]):
    """A view of one team's rows. Every action needs an entry in `scopes`."""

    # Query parameter → ORM lookup; anything else in the query is refused by name. A plain field
    # can also be asked for with __in, and where it fits with __gte, __lte and __isnull.
    filters: ClassVar[Mapping[str, str]] = {}
    # Fields in which the words of ?search= are looked for.
    searched: ClassVar[Sequence[str]] = ()
    # Further names for ?ordering=, beside the id, the times and the filters that are columns.
    orderings: ClassVar[Mapping[str, str]] = {}
    default_ordering: ClassVar[str] = "-id"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Any]:
        queryset = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return queryset.none()
        return queryset.filter(team_id=self.actor.team_id)

    def page(self, rows: QuerySet[Any] | None = None) -> Page:
        """The asked page of the rows that match the query. Raises BadFilter, BadCursor."""
        rows = self.get_queryset() if rows is None else rows
        query = ListQuery(
            self.request,
            rows.model,
            filters=self.filters,
            search=self.searched,
            orderings=self.orderings,
            default=self.default_ordering,
        )
        return query.page(query.filtered(rows))

    def list(self, request: Request) -> Response:
        page = self.page()
        return page.response(self.get_serializer_class()(page.rows, many=True).data)

    def retrieve(self, request: Request, pk: UUID) -> Response:
        obj = self.get_object()
        # Without a counter every answer would carry the same tag, however the row changes.
        headers = {} if _edits_of(obj) is None else {"ETag": etag_of(obj)}
        return Response(self.get_serializer_class()(obj).data, headers=headers)
