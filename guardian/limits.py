"""How many requests a caller may send in a window of 60 s, counted in Redis, else per process."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

import redis
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from guardian.identity import bearer_token, client_address
from guardian.middleware import is_of_the_api
from guardian.problems import problem_response

clock = time.time
log = structlog.get_logger(__name__)
WINDOW_SECONDS = 60
# A counter in memory is cheap; a slow Redis must not hold up a request.
REDIS_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a caller stands: which limit, how many are left, when the window ends."""

    name: str
    limit: int
    used: int
    reset_seconds: int

    @property
    def allowed(self) -> bool:
        return self.used <= self.limit

    def fields(self) -> dict[str, str]:
        """The header fields of draft-ietf-httpapi-ratelimit-headers."""
        left = max(0, self.limit - self.used)
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.name}";r={left};t={self.reset_seconds}',
        }

    def write_to(self, response: HttpResponse) -> None:
        for name, value in self.fields().items():
            response[name] = value


class LocalCounts:
    """Counters of this process: used where there is no Redis, and while it does not answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = 0
        self._counts: dict[str, int] = {}

    def count(self, key: str, window: int) -> int:
        with self._lock:
            if window != self._window:
                self._window, self._counts = window, {}
            self._counts[key] = self._counts.get(key, 0) + 1
            return self._counts[key]


_local = LocalCounts()


@cache
def _redis(url: str) -> "redis.Redis":
    return redis.Redis.from_url(
        url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )


def redis_client() -> "redis.Redis":
    """The Redis of the settings, with short patience."""
    return _redis(settings.REDIS_URL)


def _count(key: str, window: int) -> int:
    if settings.REDIS_URL:
        name = f"lemnos:limit:{window}:{key}"
        try:
            with redis_client().pipeline(transaction=False) as pipe:
                pipe.incr(name)
                pipe.expire(name, 2 * WINDOW_SECONDS)
                return int(pipe.execute()[0])
        except redis.RedisError as error:
            log.info("redis_unreachable", error=str(error)[:200])
    return _local.count(key, window)


def take(name: str, caller: str, *, now: float | None = None) -> Verdict:
    """Count one request of a caller under the limit of this name (token, session, anonymous)."""
    moment = clock() if now is None else now
    window = int(moment // WINDOW_SECONDS)
    used = _count(f"{name}:{caller}", window)
    reset = max(1, math.ceil((window + 1) * WINDOW_SECONDS - moment))
    return Verdict(name, settings.RATE_LIMITS[name], used, reset)


class RateLimitMiddleware:
    """Refuses callers of the API that are too fast; every answer says where they stand.

    A token that turns out to be none counts as an anonymous request of its address, so that
    inventing tokens brings no new allowance.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not is_of_the_api(request):
            return self.get_response(request)
        verdict = _judge(request)
        if not verdict.allowed:
            return _refusal(request, verdict)
        response = self.get_response(request)
        if response.status_code == 401 and verdict.name != "anonymous":
            verdict = take("anonymous", client_address(request))
            if not verdict.allowed:
                return _refusal(request, verdict)
        verdict.write_to(response)
        return response


def caller_of(credentials: str) -> str:
    """Whom an Authorization header is counted as: its token, however the header is written."""
    token = bearer_token(credentials)
    return sha256((credentials if token is None else token).encode()).hexdigest()[:24]


def _judge(request: HttpRequest) -> Verdict:
    credentials = request.headers.get("Authorization", "")
    if credentials:
        return take("token", caller_of(credentials))
    if request.user.is_authenticated:
        return take("session", str(request.user.pk))
    return take("anonymous", client_address(request))


def _refusal(request: HttpRequest, verdict: Verdict) -> HttpResponse:
    response = problem_response(
        request,
        code="rate_limited",
        status=429,
        detail=f"At most {verdict.limit} requests in {WINDOW_SECONDS} seconds.",
        remedy="Wait as long as Retry-After says.",
    )
    response["Retry-After"] = str(verdict.reset_seconds)
    verdict.write_to(response)
    return response
