"""Each request gets an id, which its events, logs and answer carry."""

import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render

from guardian import context, disk, metrics, tracing
from guardian.errors import Forbidden, Invalid, ReadOnly
from guardian.proxies import is_trusted


class RequestContextMiddleware:
    """The caller's request id and trace go on in events, logs and jobs; the answer names both."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if context.is_safe_request_id(given) else uuid4().hex
        context.set_request_id(request_id)
        given = request.headers.get("traceparent", "")
        # A span continues the caller's trace by itself; without spans the step is only a number.
        context.set_traceparent(given if tracing.is_on() else context.continued(given))
        with tracing.span("lemnos.request", method=request.method) as seen:
            trace = context.traceparent()
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(
                request_id=request_id, trace_id=context.trace_id()
            )
            response = self.get_response(request)
            if response.status_code >= 500:
                tracing.failed(seen, str(response.status_code))
        response["X-Request-ID"] = request_id
        response["traceparent"] = trace
        return response


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class MetricsMiddleware:
    """Times each request under its route's template, so that no id becomes a label."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = self.get_response(request)
        found = request.resolver_match
        metrics.HTTP_REQUEST_SECONDS.observe(
            time.perf_counter() - began,
            route=f"/{found.route}" if found else "none",
            method=request.method if request.method in METHODS else metrics.OTHER,
            status_class=f"{response.status_code // 100}xx",
        )
        return response


class ForwardedSchemeMiddleware:
    """Behind a trusted proxy that ends TLS a request is as secure as the person's connection.

    Without it Django would compare the page's `https` Origin with `http` and refuse every form;
    and cookies that came by TLS would be sent in the clear later.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        peer = request.META.get("REMOTE_ADDR", "")
        if is_trusted(peer) and request.headers.get("X-Forwarded-Proto") == "https":
            request.META["wsgi.url_scheme"] = "https"
        response = self.get_response(request)
        if request.is_secure():
            for cookie in response.cookies.values():
                cookie["secure"] = True
        return response


# `/tools` is an alias of the API's root; its page is elsewhere.
API_ROOTS = ("/api/", "/tools")


def is_of_the_api(request: HttpRequest) -> bool:
    """Also with a slash too many in front, as `$URL/api` gives for a URL that ends with one."""
    return f"/{request.path.lstrip('/')}".startswith(API_ROOTS)


def is_for_people(request: HttpRequest) -> bool:
    """Whether a browser shows the answer as a page; below the API's addresses never."""
    return not is_of_the_api(request) and "text/html" in request.headers.get("Accept", "")


class ApiProblemMiddleware:
    """Under the API's addresses every failure is a problem document, whoever answers it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_of_the_api(request):
            return self.get_response(request)
        from guardian.problems import foreign_problem, problem_response

        # No text of the database holds U+0000, so nothing is found by it either.
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            fault = Invalid("An address may not hold U+0000.")
            return problem_response(
                request,
                code=fault.code,
                status=fault.status,
                detail=fault.detail,
                remedy=fault.remedy,
                **fault.data,
            )
        return foreign_problem(request, self.get_response(request))


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ReadOnlyMiddleware:
    """With the disk nearly full, reading goes on and writing is refused before it begins."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method in SAFE_METHODS or not disk.room().is_full:
            return self.get_response(request)
        from guardian.problems import problem_response

        error = ReadOnly()
        response: HttpResponse
        if is_for_people(request):
            shown = {"title": "Nothing is saved now", "text": error.detail, "remedy": error.remedy}
            response = render(request, "guardian/problem.html", shown, status=error.status)
        else:
            response = problem_response(
                request,
                code=error.code,
                status=error.status,
                detail=error.detail,
                remedy=error.remedy,
            )
        response["Retry-After"] = str(error.retry_after)
        return response


# What somebody with a first password may still ask for.
OPEN_BEFORE_CHANGE = ("/password", "/logout", "/login", "/static/", "/livez", "/readyz", "/metrics")


class FirstPasswordMiddleware:
    """Whoever logs in with a password that an operator set chooses another before all else.

    For browsers' sessions alone: a token is no password.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not self._holds_up(request):
            return self.get_response(request)
        if is_for_people(request) and request.method in SAFE_METHODS:
            return redirect("password")
        from guardian.problems import problem_response

        error = Forbidden("Your password was set by an operator.")
        return problem_response(
            request,
            code=error.code,
            status=error.status,
            detail=error.detail,
            remedy="Choose your own at /password, then go on.",
        )

    @staticmethod
    def _holds_up(request: HttpRequest) -> bool:
        # The API asks a token before the session; pages never look at one.
        by_token = is_of_the_api(request) and request.headers.get("Authorization")
        if by_token or settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return False
        if request.path.startswith(OPEN_BEFORE_CHANGE):
            return False
        return bool(getattr(request.user, "has_first_password", False))
