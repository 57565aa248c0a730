"""Every failure leaves as application/problem+json (RFC 9457), whoever found it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import DataError, OperationalError, transaction
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import Resolver404, resolve
from psycopg.errors import QueryCanceled
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from guardian import context, errors, foreign_errors
from guardian.error_book import meaning
from guardian.redaction import redact_text

log = structlog.get_logger(__name__)
PROBLEM = "application/problem+json"


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
        body["remedy"] = {"text": remedy, **_call(remedy)}
    body.update(extra)
    return body


_CALL = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/api/v1/[a-z0-9/_-]*[a-z0-9])(?![a-z0-9/_{-])")


def _call(remedy: str) -> dict[str, str]:
    """The request a remedy names, for programs; none where it needs an id to be filled in."""
    found = _CALL.search(remedy)
    return {"method": found[1], "href": found[2]} if found else {}


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
    if isinstance(exc.__cause__, QueryCanceled):
        return foreign_errors.Timeout()
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
    request: HttpRequest, *, code: str, status: int, detail: str, remedy: str = "", **extra: Any
) -> JsonResponse:
    """The same shape for what fails outside of API views."""
    body = problem_body(
        code=code, status=status, detail=detail, instance=request.path, remedy=remedy, **extra
    )
    return JsonResponse(body, status=status, content_type=PROBLEM)


_NUMBERED = re.compile(r"(/api/v1/[a-z-]+)/(?:[A-Za-z]{1,10}-)?(\d{1,9})")


def _row_by_number(path: str) -> str:
    """What helps whoever wrote a row's number, as people do, where its id belongs; or nothing."""
    found = _NUMBERED.match(path)
    try:
        view = getattr(resolve(found[1]).func, "cls", None) if found else None
    except Resolver404:
        view = None
    if found is None or "number" not in getattr(view, "filters", {}):
        return ""
    return f"Use its id, a UUID: GET {found[1]}?number={found[2]} finds it by its number."


def foreign_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """A failure that no API view answered, such as an unknown URL, in the API's shape."""
    status = response.status_code
    if status < 400 or not response.headers.get("Content-Type", "").startswith("text/html"):
        return response
    kind = _by_status(status)
    remedy = kind.remedy
    if status == 404:
        remedy = _row_by_number(request.path) or (
            "Look at /api/docs: addresses begin with one slash and end without one."
        )
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
