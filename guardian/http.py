"""What every API view shares: identity, scopes, strict bodies, problems, pages, idempotency."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import structlog
from django.core import signing
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, OperationalError, transaction
from django.db.models import DateTimeField, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone
from rest_framework import exceptions, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView

from guardian import context, errors, foreign_errors
from guardian.authority import Actor
from guardian.error_book import meaning
from guardian.identity import PUBLIC, ScopePermission, actor_of, client_address, session_actor
from guardian.models import IdempotencyKey
from guardian.redaction import redact_text
from guardian.strict import StrictSerializer

log = structlog.get_logger(__name__)
PROBLEM = "application/problem+json"
__all__ = [
    "PROBLEM",
    "PUBLIC",
    "Page",
    "StrictSerializer",
    "TeamViewSet",
    "actor_of",
    "client_address",
    "etag_of",
    "is_whole_number",
    "once",
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


# Problems


def problem_body(
    *, code: str, status: int, detail: str, instance: str, remedy: str = "", **extra: Any
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"/docs/errors/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": redact_text(detail),
        "instance": instance,
        "code": code,
        "request_id": context.request_id(),
    }
    if remedy:
        body["remedy"] = {"text": remedy}
    body.update(extra)
    return body


def problem_handler(exc: Exception, ctx: dict[str, Any]) -> Response | None:
    """Every failure of an API view leaves as application/problem+json."""
    request: Request | None = ctx.get("request")
    instance = request.path if request is not None else ""
    converted = _as_domain_error(exc)
    if converted is None:
        log.error("unhandled_error", path=instance, exc_info=exc)
        error = foreign_errors.InternalError()
        body = problem_body(
            code=error.code,
            status=error.status,
            detail=error.detail,
            instance=instance,
            remedy=error.remedy_text,
        )
        transaction.set_rollback(True) if transaction.get_connection().in_atomic_block else None
        return Response(body, status=500, content_type=PROBLEM)
    body = problem_body(
        code=converted.code,
        status=converted.status,
        detail=converted.detail,
        instance=instance,
        remedy=converted.remedy_text,
        **_plain(converted.data),
    )
    headers = {"Retry-After": str(converted.retry_after)} if converted.retry_after else {}
    if converted.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="lemnos"'
    return Response(body, status=converted.status, content_type=PROBLEM, headers=headers)


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(data, default=str))
    return plain


_BY_STATUS: dict[int, type[errors.DomainError]] = {
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: foreign_errors.MethodNotAllowed,
    406: foreign_errors.NotAcceptable,
    413: errors.BodyTooLarge,
    415: foreign_errors.UnsupportedMediaType,
    429: errors.RateLimited,
}


def _by_status(status: int) -> type[errors.DomainError]:
    unknown = errors.Invalid if status < 500 else foreign_errors.InternalError
    return _BY_STATUS.get(status, unknown)


def _as_domain_error(exc: Exception) -> errors.DomainError | None:
    """The refusal behind an exception; None for what nobody foresaw."""
    for kind, convert in _CONVERTERS:
        if isinstance(exc, kind):
            return convert(exc)
    return None


def _validation_error(exc: Any) -> errors.DomainError:
    found = list(_flatten(exc.detail))
    first = found[0]["code"] if found else "invalid"
    kind = foreign_errors.UnknownField if first == "unknown_field" else errors.Invalid
    text = "; ".join(f"{e['path']}: {e['message']}" if e["path"] else e["message"] for e in found)
    return kind(text[:1000] or "The request is not valid.", errors=found)


def _permission_denied(exc: Any) -> errors.DomainError:
    kind = foreign_errors.CsrfFailed if "CSRF" in str(exc.detail) else errors.Forbidden
    return kind(str(exc.detail))


def _api_exception(exc: Any) -> errors.DomainError:
    return _by_status(exc.status_code)(str(exc.detail))


def _unstorable(exc: Exception) -> errors.DomainError | None:
    """The last resort for values no check foresaw; None for faults that are our own."""
    ours = isinstance(exc, ValueError) and not isinstance(exc, UnicodeEncodeError)
    if ours and "NUL" not in str(exc):
        return None
    log.warning("unstorable_value", error=str(exc)[:200], kind=type(exc).__name__)
    return errors.Invalid("The request holds a value that cannot be kept.")


def _database_error(exc: OperationalError) -> errors.DomainError:
    log.warning("database_unavailable", error=str(exc)[:200])
    return foreign_errors.DatabaseUnavailable()


_CONVERTERS: list[tuple[type[Exception], Callable[[Any], errors.DomainError | None]]] = [
    (errors.DomainError, lambda exc: exc),
    (serializers.ValidationError, _validation_error),
    (Http404, lambda _: errors.NotFound()),
    (DjangoPermissionDenied, lambda _: errors.Forbidden()),
    (exceptions.ParseError, lambda exc: foreign_errors.MalformedJson(str(exc.detail))),
    (exceptions.PermissionDenied, _permission_denied),
    (exceptions.APIException, _api_exception),
    (OperationalError, _database_error),
    (DataError, _unstorable),
    (UnicodeEncodeError, _unstorable),
    (ValueError, _unstorable),
]


def _flatten(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            here = path if key == "non_field_errors" else f"{path}.{key}" if path else str(key)
            yield from _flatten(value, here)
    elif isinstance(detail, (list, tuple)):
        for index, value in enumerate(detail):
            nested = isinstance(value, (Mapping, list))
            yield from _flatten(value, f"{path}[{index}]" if nested else path)
    else:
        code = getattr(detail, "code", "invalid") or "invalid"
        yield {"path": path, "code": code, "message": str(detail)}


def problem_response(
    request: HttpRequest, *, code: str, status: int, detail: str, remedy: str = ""
) -> JsonResponse:
    """The same shape for what fails outside of API views."""
    body = problem_body(
        code=code, status=status, detail=detail, instance=request.path, remedy=remedy
    )
    return JsonResponse(body, status=status, content_type=PROBLEM)


def foreign_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """A failure that no API view answered, such as an unknown URL, in the API's shape."""
    status = response.status_code
    if status < 400 or not response.headers.get("Content-Type", "").startswith("text/html"):
        return response
    kind = _by_status(status)
    remedy = kind.remedy
    if status == 404:
        remedy = "Look at /api/docs: addresses begin with one slash and end without one."
    answer = problem_response(
        request,
        code=kind.code,
        status=status,
        detail=_FOREIGN.get(kind.code, meaning(kind)),
        remedy=remedy,
    )
    for name in ("Allow", "Retry-After"):
        if name in response.headers:
            answer[name] = response.headers[name]
    return answer


_FOREIGN = {
    "not_found": "There is nothing at this address.",
    "invalid": "The request is not valid.",
}


# Versions


def is_whole_number(text: str) -> bool:
    """Digits 0 to 9 alone: `isdigit` also takes the likes of a superscript two."""
    return text.isascii() and text.isdecimal()


def etag_of(obj: Model) -> str:
    number = getattr(obj, "revision", None) or getattr(obj, "version", 1)
    return f'"v{number}"'


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


# Pages


class Page:
    """Keyset pages in id order: rows written while paging are neither doubled nor lost."""

    def __init__(
        self, request: Request, queryset: QuerySet[Any], *, descending: bool = True
    ) -> None:
        self.limit = _limit(request)
        self.descending = descending
        self.want_total = request.query_params.get("total", "").lower() == "true"
        self.total = queryset.count() if self.want_total else None
        after = _cursor(request)
        queryset = queryset.order_by("-id" if descending else "id")
        if after:
            queryset = queryset.filter(Q(id__lt=after) if descending else Q(id__gt=after))
        rows = list(queryset[: self.limit + 1])
        self.rows = rows[: self.limit]
        self.next = (
            signing.dumps(str(self.rows[-1].pk), salt="cursor") if len(rows) > self.limit else None
        )

    def response(self, results: Sequence[Any]) -> Response:
        body: dict[str, Any] = {"results": results, "next": self.next}
        if self.want_total:
            body["total"] = self.total
        return Response(body)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "50")
    if not is_whole_number(text) or not 1 <= int(text[:9]) <= 200:
        raise errors.BadFilter(path="limit", reason="must be a whole number from 1 to 200")
    return int(text)


def _cursor(request: Request) -> str | None:
    text = request.query_params.get("cursor")
    if not text:
        return None
    try:
        return str(signing.loads(text, salt="cursor"))
    except signing.BadSignature as error:
        raise errors.BadCursor from error


PAGE_PARAMETERS = frozenset({"limit", "cursor", "total", "format"})


# Views


class TeamViewSet(viewsets.GenericViewSet[Any]):
    """A view of one team's rows. Every action needs an entry in `scopes`."""

    scopes: ClassVar[dict[str, str]] = {}
    idempotent_actions: ClassVar[frozenset[str]] = frozenset()
    # Query parameter → ORM lookup; anything else in the query is refused by name.
    filters: ClassVar[dict[str, str]] = {}
    lookup_value_converter = "uuid"

    @property
    def actor(self) -> Actor:
        return actor_of(self.request)

    def get_queryset(self) -> QuerySet[Any]:
        queryset = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return queryset.none()
        return queryset.filter(team_id=self.actor.team_id)

    def filtered(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows that match the query parameters. Raises BadFilter."""
        for name, value in self.request.query_params.items():
            if name in PAGE_PARAMETERS:
                continue
            lookup = self.filters.get(name)
            if lookup is None:
                raise errors.BadFilter(
                    path=name,
                    reason=f"is unknown; known: {', '.join(sorted(self.filters)) or 'none'}",
                )
            try:
                wanted = _filter_value(queryset.model, lookup, str(value))
                queryset = queryset.filter(**{lookup: wanted})
            except _UnknownChoiceError as error:
                raise errors.BadFilter(path=name, reason=str(error)) from error
            except (ValueError, TypeError, DjangoValidationError) as error:
                raise errors.BadFilter(path=name, reason="has a value it cannot take") from error
        return queryset

    def list_page(
        self, serializer: type[serializers.BaseSerializer[Any]] | None = None
    ) -> Response:
        page = Page(self.request, self.filtered(self.get_queryset()))
        use = serializer or self.get_serializer_class()
        return page.response(use(page.rows, many=True).data)

    def list(self, request: Request) -> Response:
        return self.list_page()

    def retrieve(self, request: Request, pk: UUID) -> Response:
        obj = self.get_object()
        return Response(self.get_serializer_class()(obj).data, headers={"ETag": etag_of(obj)})

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self._arguments = (args, kwargs)
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.action in self.idempotent_actions and request.headers.get("Idempotency-Key"):
            handler: Callable[..., Response] = getattr(self, self.action)

            def once(request: Request, *a: Any, **k: Any) -> Response:
                return run_once(
                    request, lambda: handler(request, *a, **k), on_error=self.handle_exception
                )

            # DRF asks for the handler by the method's name after this.
            setattr(self, (request.method or "post").lower(), once)


class _UnknownChoiceError(ValueError):
    """A value that the filtered field never has; says which it may have."""


def _filter_value(model: type[Model], lookup: str, value: str) -> Any:
    if "\x00" in value:
        raise ValueError("a null character")
    field = model._meta.get_field(lookup.split("__", maxsplit=1)[0])
    if isinstance(field, DateTimeField):
        return _moment(value)
    if lookup.endswith("__contains"):
        return [value]
    several = lookup.endswith("__in")
    values = [part.strip() for part in value.split(",") if part.strip()] if several else [value]
    known = [str(key) for key, _ in getattr(field, "flatchoices", ())]
    if known and (several or "__" not in lookup) and not set(values) <= set(known):
        raise _UnknownChoiceError(f"is none of {', '.join(known)}")
    if several:
        return values
    if lookup.endswith("__isnull"):
        return (
            {"true": True, "false": False}[value.lower()]
            if value.lower() in {"true", "false"}
            else _bad()
        )
    return value


def _moment(text: str) -> datetime:
    """A date or time; without a zone it is meant in UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bad() -> Any:
    raise ValueError("must be true or false")


# Idempotency

_KEPT_HEADERS = frozenset({"ETag", "Location", "Retry-After"})


def once(
    view: APIView, request: Request, work: Callable[[], Response], *, fingerprint: str = ""
) -> Response:
    """The work, at most once if the request carries an Idempotency-Key."""
    if not request.headers.get("Idempotency-Key"):
        return work()
    return run_once(request, work, on_error=view.handle_exception, fingerprint=fingerprint)


def run_once(
    request: Request,
    work: Callable[[], Response],
    *,
    on_error: Callable[[Exception], Response],
    fingerprint: str = "",
) -> Response:
    """Run a POST at most once per (owner, Idempotency-Key); its answer commits with its effect.

    `fingerprint` stands for a body that is no JSON.
    """
    actor = actor_of(request)
    key = request.headers["Idempotency-Key"]
    if len(key) > 255:
        raise errors.Invalid(path="Idempotency-Key", reason="must be at most 255 characters long")
    if not key.isprintable():
        raise errors.Invalid(path="Idempotency-Key", reason="must be printable text")
    owner = str(actor.token_id or actor.id)
    body = fingerprint or (request.data if isinstance(request.data, dict) else {})
    digest = hashlib.sha256(
        json.dumps([request.method, request.path, body], sort_keys=True, default=str).encode()
    ).hexdigest()
    lock = int.from_bytes(hashlib.sha256(f"{owner}:{key}".encode()).digest()[:8], signed=True)
    with transaction.atomic():
        connection = transaction.get_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
            if not (cursor.fetchone() or (False,))[0]:
                raise errors.IdempotencyInProgress
        stored = IdempotencyKey.objects.filter(owner=owner, key=key).first()
        if stored is not None:
            if stored.request_hash != digest:
                raise errors.IdempotencyKeyReused
            return Response(
                stored.body,
                status=stored.status,
                content_type=PROBLEM if stored.status >= 400 else None,
                headers={**stored.headers, "Idempotency-Replayed": "true"},
            )
        response = _attempt(work, on_error)
        if response.status_code < 500:
            IdempotencyKey.objects.create(
                owner=owner,
                key=key,
                request_hash=digest,
                status=response.status_code,
                body=_plain_value(response.data),
                headers={k: v for k, v in response.headers.items() if k in _KEPT_HEADERS},
                created_at=timezone.now(),
            )
        return response


def _attempt(work: Callable[[], Response], on_error: Callable[[Exception], Response]) -> Response:
    """The work in a savepoint: a refusal undoes its writes and is itself the stored answer."""
    try:
        with transaction.atomic():
            return work()
    except (errors.DomainError, serializers.ValidationError, Http404, IntegrityError) as error:
        if isinstance(error, IntegrityError):
            raise
        return on_error(error)


def _plain_value(value: Any) -> Any:
    """As the answer's own renderer writes it, so that a replay has the same bytes."""
    return json.loads(json.dumps(value, cls=JSONEncoder))
