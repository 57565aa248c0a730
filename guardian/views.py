"""Pages of guardian: logging in and out, and what an error code means."""

import json
from functools import cache
from http import HTTPStatus
from typing import Any

from django.contrib.auth import views as auth_views
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST, require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer

from guardian import context
from guardian.error_book import entries
from guardian.errors import BadFilter
from guardian.models import Team, User
from guardian.problems import problem_body, problem_response


class LoginView(auth_views.LoginView):
    template_name = "guardian/login.html"
    redirect_authenticated_user = True


class LogoutView(auth_views.LogoutView):
    http_method_names = ["post", "options"]


@require_POST
def choose_team(request: HttpRequest) -> HttpResponse:
    """Go on in another of one's teams; it is the session's until another is chosen."""
    if not isinstance(request.user, User):
        return redirect("login")
    team = Team.objects.filter(
        slug=request.POST.get("team", ""), memberships__user=request.user
    ).first()
    if team is None:
        raise Http404
    request.session["team_id"] = str(team.pk)
    request.session.pop("board", None)  # the other team's boards have names of their own
    return redirect("boards")


def home(request: HttpRequest) -> HttpResponse:
    """Where a person begins: at the board."""
    if not request.user.is_authenticated:
        return redirect("login")
    return redirect("boards")


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """What a language model needs to work here, by the form of llmstxt.org."""
    text = render_to_string(
        "guardian/llms.txt", {"operations": _operations(), "errors": entries().values()}
    )
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3.1 of the whole API: JSON, or YAML with ?format=yaml."""
    form = request.GET.get("format", "json")
    if form not in _FORMS:
        error = BadFilter(path="format", reason=f"must be one of {', '.join(_FORMS)}")
        return problem_response(
            request,
            code=error.code,
            status=error.status,
            detail=error.detail,
            remedy="Leave it out for JSON, or ask for ?format=yaml.",
        )
    return HttpResponse(_written(form), content_type=_FORMS[form])


_FORMS = {"json": "application/json", "yaml": "application/yaml"}


@cache
def _document() -> dict[str, Any]:
    """The description of the API; it cannot change while the process lives."""
    found: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]  # drf-spectacular has no types
    return found


@cache
def _written(form: str) -> bytes:
    renderer = OpenApiJsonRenderer if form == "json" else OpenApiYamlRenderer
    written: bytes = renderer().render(_document())
    return written


@cache
def _operations() -> list[dict[str, str]]:
    """Every operation of the OpenAPI document: {method, path, scope, summary}."""
    paths = _document()["paths"]
    return [
        {
            "method": method.upper(),
            "path": path,
            "scope": operation.get("x-scope", ""),
            "summary": " ".join(operation.get("description", "").split("\n\n")[0].split()),
        }
        for path, methods in sorted(paths.items())
        for method, operation in methods.items()
    ]


def error_pages(request: HttpRequest) -> HttpResponse:
    """Every error code there is, each with a link to its page."""
    return render(request, "guardian/errors.html", {"entries": entries().values()})


def error_page(request: HttpRequest, code: str) -> HttpResponse:
    """One error code in words, for whoever follows a problem's `type`."""
    entry = entries().get(code)
    if entry is None:
        raise Http404
    example = problem_body(
        code=entry.code,
        status=entry.status,
        detail=entry.means,
        instance="/api/v1/…",
        remedy=entry.remedy,
        **entry.members,
    )
    shown = {
        "entry": entry,
        "phrase": HTTPStatus(entry.status).phrase,
        "example": json.dumps(example, indent=2, ensure_ascii=False),
    }
    return render(request, "guardian/error.html", shown)


# Pages for people where no view answers; below /api/ the middleware makes problems of them.


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The handler of unknown addresses."""
    return render(request, "404.html", {"request_path": request.path[:200]}, status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """The handler of what nobody foresaw; asks nothing of the database or the session."""
    text = render_to_string("500.html", {"request_id": context.request_id()})
    return HttpResponse(text, status=500)
