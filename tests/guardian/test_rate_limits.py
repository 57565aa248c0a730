"""The API is limited per caller, and every answer says where the caller stands."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
import redis as redis_module
from launch.redis import find_redis

from guardian import limits


@pytest.fixture(autouse=True)
def fresh_counts(monkeypatch, settings):
    """No shared Redis and no counts of other tests."""
    settings.REDIS_URL = ""
    settings.RATE_LIMITS = {"token": 3, "session": 5, "anonymous": 2}
    monkeypatch.setattr(limits, "_local", limits.LocalCounts())
    # Whether a window ends during a test must not decide it.
    monkeypatch.setattr(limits, "clock", lambda: 1_000_000_040.0)


@pytest.fixture
def redis_url(tmp_path_factory):
    """A Redis of this test's own."""
    program = find_redis(Path(sysconfig.get_path("purelib")))
    if program is None:
        pytest.skip("redis: no redis-server here")
    folder = tmp_path_factory.mktemp("redis")
    child = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(folder / "s"), "--save", ""],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in child.stdout:
        if "eady to accept connections" in line and (folder / "s").exists():
            break
    yield f"unix://{folder / 's'}"
    child.kill()
    child.communicate()
    limits._redis.cache_clear()


def test_answers_count_down_and_name_the_policy(api, viewer):
    client = api(viewer)

    first, second = (client.get("/api/v1/tickets") for _ in range(2))

    assert first["RateLimit-Policy"] == '"token";q=3;w=60'
    assert (first["RateLimit"], second["RateLimit"]) == (
        '"token";r=2;t=40',
        '"token";r=1;t=40',
    )


def test_refuses_the_one_too_many_with_retry_after(api, viewer):
    client = api(viewer)
    for _ in range(3):
        assert client.get("/api/v1/tickets").status_code == 200

    refused = client.get("/api/v1/tickets")

    assert refused.status_code == 429
    assert refused["Retry-After"] == "40"
    assert refused["RateLimit"] == '"token";r=0;t=40'
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["remedy"]["text"]


def test_one_callers_haste_is_not_anothers(api, viewer, lead):
    hasty, calm = api(viewer), api(lead)
    for _ in range(5):
        hasty.get("/api/v1/tickets")

    assert calm.get("/api/v1/tickets").status_code == 200


def test_a_session_has_an_allowance_of_its_own(api, lead, client):
    client.force_login(lead.user)

    assert client.get("/api/v1/tickets")["RateLimit-Policy"] == '"session";q=5;w=60'


def test_a_token_is_one_caller_however_its_header_is_written(api, viewer):
    token = api(viewer)._credentials["HTTP_AUTHORIZATION"].split()[1]
    forms = ["Bearer ", "bearer ", "BEARER ", "Token ", "Bearer  "]

    answers = [
        api().get("/api/v1/tickets", headers={"authorization": form + token}) for form in forms
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]


def test_inventing_tokens_brings_no_new_allowance(api, db):
    client = api()
    answers = [
        client.get("/api/v1/tickets", headers={"authorization": f"Bearer lem_{number:012}.x"})
        for number in range(4)
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]


def test_pages_and_health_are_not_limited(client, db):
    assert all(client.get("/livez").status_code == 200 for _ in range(5))
    assert "RateLimit" not in client.get("/livez")


def test_a_new_window_begins_anew():
    used = [limits.take("token", "one", now=now).used for now in (0.0, 59.9, 60.0)]

    assert used == [1, 2, 1]


def test_counts_here_while_redis_does_not_answer(settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"

    assert [limits.take("token", "one", now=0.0).used for _ in range(2)] == [1, 2]


def test_processes_share_their_counts_in_redis(settings, redis_url, monkeypatch):
    settings.REDIS_URL = redis_url
    limits.take("token", "shared", now=0.0)
    monkeypatch.setattr(limits, "_local", limits.LocalCounts())  # as if in another process

    assert limits.take("token", "shared", now=1.0).used == 2
    store = redis_module.Redis.from_url(redis_url)
    assert 0 < store.ttl("lemnos:limit:0:token:shared") <= 120
    store.close()
