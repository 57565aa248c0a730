"""Pages of guardian: logging in and out, and what an error code means."""

from functools import cache

from django.contrib.auth import views as auth_views
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from guardian import errors


class LoginView(auth_views.LoginView):
    template_name = "guardian/login.html"
    redirect_authenticated_user = True


class LogoutView(auth_views.LogoutView):
    http_method_names = ["post", "options"]


def home(request: HttpRequest) -> HttpResponse:
    """Where a person begins: at the board."""
    if not request.user.is_authenticated:
        return redirect("login")
    return redirect("boards")


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """What a language model needs to work here, by the form of llmstxt.org."""
    text = render_to_string(
        "guardian/llms.txt", {"operations": _operations(), "errors": sorted(_all_errors().items())}
    )
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@cache
def _operations() -> list[dict[str, str]]:
    """Every operation of the OpenAPI document: {method, path, scope, summary}."""
    paths = SchemaGenerator().get_schema(public=True)["paths"]  # type: ignore[no-untyped-call]  # drf-spectacular has no types
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


def _all_errors(base: type[errors.DomainError] = errors.DomainError) -> dict[str, str]:
    """Code → message; of several errors with one code the most general speaks."""
    found: dict[str, str] = {}
    for sub in base.__subclasses__():
        found |= _all_errors(sub)
    return found | {base.code: (base.__doc__ or "").strip().splitlines()[0]}


def error_page(request: HttpRequest, code: str) -> HttpResponse:
    """One error code in words, for whoever follows a problem's `type`."""
    known = _all_errors()
    if code not in known:
        raise Http404
    return render(request, "guardian/error.html", {"code": code, "message": known[code]})
