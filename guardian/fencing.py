"""`Lemnos-Fence: <lock>:<fence>`: a write that counts only while its lease does.

With the header a write runs in one transaction. As soon as it is known who writes, the lock is
looked at and kept as it is until that transaction ends: nobody else gets it meanwhile.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase

from guardian.authority import Actor
from guardian.middleware import SAFE_METHODS, is_of_the_api

HEADER = "Lemnos-Fence"


class FenceMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponseBase],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        if request.method in SAFE_METHODS or HEADER not in request.headers:
            return None
        if not is_of_the_api(request) or iscoroutinefunction(view):
            return _refused(request)
        with transaction.atomic():
            return view(request, *args, **kwargs)


def _refused(request: HttpRequest) -> HttpResponseBase:
    """Better refused than written without the look that was asked for."""
    from guardian.http import problem_response

    return problem_response(
        request,
        code="invalid",
        status=400,
        detail=f"{HEADER} guards writes through the API; here it would guard nothing.",
        remedy="Send this request without the header, or use the API.",
    )


def keep_fences(request: Any, actor: Actor) -> None:
    """Look at the locks that a write of this actor names, once it is known who writes.

    Raises Invalid, NotFound, LeaseLost.
    """
    header = request.headers.get(HEADER)
    if header is None or request.method in SAFE_METHODS:
        return
    from guardian.services import check_fences

    check_fences(actor=actor, header=header)
