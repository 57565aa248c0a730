"""Failed logins, counted per account and address: guessing a password takes for ever."""

import math
import threading
import time
import unicodedata
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from typing import Any

import redis
import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from guardian.identity import client_address
from guardian.limits import redis_client

clock = time.time
log = structlog.get_logger(__name__)
MOST_FAILURES = 10
WINDOW_SECONDS = 15 * 60
# Old windows are swept out of memory once there are this many.
SWEEP_AT = 10_000
Answer = Callable[..., HttpResponseBase]


class LocalFailures:
    """Counters of this process: used where there is no Redis, and while it does not answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}

    def count(self, key: str) -> tuple[int, int]:
        now = clock()
        with self._lock:
            if len(self._windows) >= SWEEP_AT:
                self._windows = {k: w for k, w in self._windows.items() if w[1] > now}
            number, end = self._windows.get(key, (0, 0.0))
            if end <= now:
                number, end = 0, now + WINDOW_SECONDS
            self._windows[key] = (number + 1, end)
            return number + 1, max(1, math.ceil(end - now))

    def forget(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)


_local = LocalFailures()


def _key(account: str, address: str) -> str:
    # As Django's login form reads a name: in wide or bold letters it is the same account.
    name = unicodedata.normalize("NFKC", account).strip().casefold()
    return sha256(f"{name}\0{address}".encode()).hexdigest()[:32]


def seconds_to_wait(*, account: str, address: str) -> int:
    """Count one attempt; 0 if it may go on, else seconds until the next one may.

    Counted before the password is looked at, so that many at once are not all the tenth. The
    window begins with its first attempt: trying on does not prolong it.
    """
    number, left = _count(_key(account, address))
    return 0 if number <= MOST_FAILURES else left


def _count(key: str) -> tuple[int, int]:
    if settings.REDIS_URL:
        name = f"lemnos:login:{key}"
        try:
            with redis_client().pipeline(transaction=True) as pipe:
                pipe.set(name, 0, ex=WINDOW_SECONDS, nx=True)
                pipe.incr(name)
                pipe.ttl(name)
                _, number, left = pipe.execute()
                return int(number), max(1, int(left))
        except redis.RedisError as error:
            log.info("redis_unreachable", error=str(error)[:200])
    return _local.count(key)


def forget(*, account: str, address: str) -> None:
    """Who got in has no failures."""
    key = _key(account, address)
    if settings.REDIS_URL:
        try:
            redis_client().delete(f"lemnos:login:{key}")
        except redis.RedisError as error:
            log.info("redis_unreachable", error=str(error)[:200])
    _local.forget(key)


def operators_only(view: Answer) -> Answer:
    """The admin's login, which says so to whoever is logged in and has no role that opens it."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = request.user
        if user.is_authenticated and not (user.is_active and user.is_staff):
            raise PermissionDenied("The operators' pages are not open to your role.")
        return view(request, *args, **kwargs)

    return guarded


def throttled(view: Answer) -> Answer:
    """A login view that answers 429 after ten failures of an account from one address."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        account = request.POST.get("username", "").strip()
        address = client_address(request)
        wait = seconds_to_wait(account=account, address=address)
        if wait:
            log.warning("login_throttled", account=account[:150], address=address)
            return _refusal(request, wait)
        was_in = request.user.is_authenticated
        answer = view(request, *args, **kwargs)
        # Who was in already proved nothing now: their redirect wipes out no guesses.
        if request.user.is_authenticated and not was_in:
            forget(account=account, address=address)
        return answer

    return guarded


def _refusal(request: HttpRequest, wait: int) -> HttpResponse:
    answer = render(
        request,
        "guardian/login_refused.html",
        {"failures": MOST_FAILURES, "minutes": math.ceil(wait / 60), "back": request.path},
        status=429,
    )
    answer["Retry-After"] = str(wait)
    answer["Cache-Control"] = "no-store"
    return answer
