"""Pages of guardian: logging in and out, one's password, and what an error code means."""

import json
from functools import cache
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer

from guardian import context, feed_topics
from guardian.error_book import entries
from guardian.errors import BadFilter, DomainError, Unauthorized
from guardian.models import Team, User
from guardian.problems import problem_body, problem_response
from guardian.services import change_own_password


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
    mine = Team.objects.filter(memberships__user=request.user)
    team = next((team for team in mine if team.slug == request.POST.get("team")), None)
    if team is None:
        raise Http404
    request.session["team_id"] = str(team.pk)
    request.session.pop("board", None)  # the other team's boards have names of their own
    return redirect("boards")


class PasswordForm(forms.Form):
    """One's own password, changed by whoever knows the present one."""

    present = forms.CharField(max_length=200, strip=False)
    new = forms.CharField(max_length=200, strip=False)
    again = forms.CharField(max_length=200, strip=False)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("new") != values.get("again"):
            self.add_error("again", "The two new passwords are not the same.")
        return values


@login_required
@require_http_methods(["GET", "POST"])
@sensitive_post_parameters()
def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password; this session goes on, all others end."""
    if not isinstance(request.user, User):
        raise Unauthorized
    user, done = request.user, False
    form = PasswordForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        values = form.cleaned_data
        try:
            user = change_own_password(user=user, present=values["present"], new=values["new"])
        except DomainError as refusal:
            form.add_error("new" if refusal.code == "invalid" else "present", refusal.detail)
        else:
            update_session_auth_hash(request, user)
            done = True
    shown = {"form": form, "done": done, "person": user}
    return render(request, "guardian/password.html", shown, status=200 if not form.errors else 400)


def home(request: HttpRequest) -> HttpResponse:
    """Where a person begins: at the board."""
    if not request.user.is_authenticated:
        return redirect("login")
    return redirect("boards")


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """What a language model needs to work here, by the form of llmstxt.org."""
    text = render_to_string(
        "guardian/llms.txt",
        {
            "operations": _operations(),
            "errors": entries().values(),
            "topics": ", ".join(f"`{form}`" for form in feed_topics.forms()),
        },
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
            "summary": operation["summary"],
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
