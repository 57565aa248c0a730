"""GET /metrics: for a scraper beside the server, or whoever may read the system."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from guardian.addresses import networks, plain
from guardian.authority import Actor, require_scope
from guardian.errors import DomainError, Unauthorized
from guardian.identity import TokenAuthentication, session_actor
from guardian.problems import problem_response
from guardian.scraping import scrape

SCOPE = "system:read"
FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus's text format, for scope `system:read` or an address of LEMNOS_METRICS_ALLOW."""
    if not is_neighbour(request):
        try:
            require_scope(_actor(request), SCOPE)
        except DomainError as refusal:
            return _refused(request, refusal)
    return HttpResponse(
        scrape(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"}
    )


def is_neighbour(request: HttpRequest) -> bool:
    """Whether it comes straight from an allowed address; a proxy there speaks for anybody."""
    if any(name in request.headers for name in FORWARDING):
        return False
    try:
        peer = plain(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:  # a unix socket has no address
        return False
    return any(peer in network for network in networks(settings.METRICS_ALLOW))


def _actor(request: HttpRequest) -> Actor:
    found = TokenAuthentication().authenticate(request)  # type: ignore[arg-type]  # reads headers
    if found is not None:
        return found[1]
    if not request.user.is_authenticated:
        raise Unauthorized
    return session_actor(request)


def _refused(request: HttpRequest, refusal: DomainError) -> HttpResponse:
    response = problem_response(
        request,
        code=refusal.code,
        status=refusal.status,
        detail=refusal.detail,
        remedy=refusal.remedy_text,
    )
    if refusal.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="lemnos"'
    return response
