"""Pages of guardian: logging in and out, and what an error code means."""

from django.contrib.auth import views as auth_views
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

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
