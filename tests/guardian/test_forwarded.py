"""Behind a proxy that ends TLS: believed where it is trusted, and only there."""

import pytest
from django.test import Client

from guardian.identity import forwarded_address
from guardian.models import ApiToken

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


INNER, CLIENT = "10.0.0.2", "203.0.113.7"


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}", CLIENT),  # the first was claimed by the client
        (PROXY, f"{CLIENT}, {INNER}", CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}, {INNER}", CLIENT),
        (PROXY, f"{CLIENT}:51234", CLIENT),
        (PROXY, "[2001:db8::1]:443", "2001:db8::1"),
        (PROXY, f"::ffff:{CLIENT}", CLIENT),
        (f"::ffff:{PROXY}", CLIENT, CLIENT),
        (PROXY, "unknown", PROXY),
        (PROXY, f"{CLIENT}, _hidden", PROXY),
        (PROXY, "", PROXY),
        (CLIENT, "198.51.100.1", CLIENT),
        ("", CLIENT, ""),
    ],
)
def test_the_header_is_believed_from_its_end_as_far_as_proxies_wrote_it(
    settings, peer, header, address
):
    settings.TRUSTED_PROXIES = [PROXY, INNER]

    assert forwarded_address(peer, header) == address


@pytest.mark.parametrize("header", ["unknown", "_hidden", "203.0.113.7:51234", "a\u00e9"])
def test_a_token_is_used_whatever_a_proxy_says_of_the_address(api, viewer, header):
    client = api(viewer)

    answer = client.get("/api/v1/tickets", headers={"x-forwarded-for": header}, REMOTE_ADDR=PROXY)

    assert answer.status_code == 200
    assert ApiToken.objects.get(user=viewer.user).last_used_ip in {PROXY, "203.0.113.7"}


@pytest.mark.parametrize(
    ("peer", "believed"),
    [("10.9.8.7", True), ("::ffff:10.9.8.7", True), ("11.0.0.1", False), ("", False)],
)
def test_a_network_of_proxies_is_believed_whole(settings, peer, believed):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", "fd00::/8"]

    assert (forwarded_address(peer, "203.0.113.5") == "203.0.113.5") is believed
