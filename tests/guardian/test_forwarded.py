"""Behind a proxy that ends TLS: believed where it is trusted, and only there."""

import pytest
from django.test import Client

PROXY = "192.0.2.10"
FORM = {"username": "lena", "password": "a long pass phrase"}


@pytest.fixture(autouse=True)
def proxies(settings):
    settings.TRUSTED_PROXIES = [PROXY]


def log_in(peer, **headers):
    """Log in as a browser at `https://localhost` does, with the form's own token."""
    client = Client(enforce_csrf_checks=True, headers={"X-Forwarded-Proto": "https", **headers})
    client.get("/login", REMOTE_ADDR=peer)
    token = client.cookies["csrftoken"].value
    form = {**FORM, "csrfmiddlewaretoken": token}
    origin = {"origin": "https://localhost", "host": "localhost"}
    return client.post("/login", form, REMOTE_ADDR=peer, headers=origin)


def test_people_log_in_through_a_trusted_proxy_and_their_cookies_are_secure(lead):
    answer = log_in(PROXY)

    assert answer.status_code == 302
    assert {name: bool(cookie["secure"]) for name, cookie in answer.cookies.items()} == {
        "csrftoken": True,
        "sessionid": True,
    }


def test_a_stranger_may_not_claim_a_secure_connection(lead):
    assert log_in("198.51.100.7").status_code == 403


def test_without_tls_cookies_stay_usable(lead, client):
    answer = client.post("/login", FORM)

    assert not answer.cookies["sessionid"]["secure"]
