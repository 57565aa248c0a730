"""Guessing passwords is slow, and only the guesser feels it."""

import pytest

from guardian import logins

RIGHT, WRONG = "a long pass phrase", "a wrong pass phrase"


@pytest.fixture(autouse=True)
def fresh_counts(monkeypatch, settings):
    """No shared Redis, no counts of other tests, and a clock that stands."""
    settings.REDIS_URL = ""
    monkeypatch.setattr(logins, "_local", logins.LocalFailures())
    monkeypatch.setattr(logins, "clock", lambda: 1_000_000.0)


@pytest.fixture(params=["/login", "/admin/login/"])
def door(request):
    """Where people log in."""
    return request.param


@pytest.fixture
def enter(client, door):
    def attempt(username, password, address="192.0.2.7"):
        return client.post(door, {"username": username, "password": password}, REMOTE_ADDR=address)

    return attempt


def test_the_eleventh_attempt_is_refused_in_words_even_with_the_password(enter, lead):
    answers = [enter("lena", WRONG).status_code for _ in range(10)]

    refused = enter("lena", RIGHT)

    assert answers == [200] * 10
    assert refused.status_code == 429
    assert refused["Retry-After"] == "900"
    assert "try again in 15 minutes" in refused.content.decode()


@pytest.mark.parametrize(
    "spelling", ["LENA", " lena ", "\uff4c\uff45\uff4e\uff41", "\U0001d4f5ena"]
)
def test_another_spelling_of_a_name_is_no_other_account(enter, lead, spelling):
    for _ in range(10):
        enter("lena", WRONG)

    assert enter(spelling, WRONG).status_code == 429


def test_another_account_and_another_address_are_not_locked_out(enter, client, lead, admin):
    for _ in range(12):
        enter("lena", WRONG)

    assert enter("ada", RIGHT).status_code == 302
    client.logout()
    assert enter("lena", RIGHT, address="198.51.100.3").status_code == 302


def test_who_gets_in_has_a_clean_slate(enter, client, lead):
    for _ in range(9):
        enter("lena", WRONG)
    assert enter("lena", RIGHT).status_code == 302
    client.logout()

    assert [enter("lena", WRONG).status_code for _ in range(10)] == [200] * 10


def test_somebody_already_in_wipes_out_no_guesses(enter, client, admin, lead):
    for _ in range(10):
        enter("lena", WRONG)
    client.force_login(admin.user)
    enter("lena", WRONG)
    client.logout()

    assert enter("lena", WRONG).status_code == 429


def test_trying_on_does_not_prolong_the_wait(enter, lead, monkeypatch):
    for _ in range(11):
        enter("lena", WRONG)
    monkeypatch.setattr(logins, "clock", lambda: 1_000_600.0)
    assert enter("lena", RIGHT)["Retry-After"] == "300"

    monkeypatch.setattr(logins, "clock", lambda: 1_000_900.0)

    assert enter("lena", RIGHT).status_code == 302


def test_both_doors_count_together(client, lead):
    for number in range(10):
        door = "/login" if number % 2 else "/admin/login/"
        client.post(door, {"username": "lena", "password": WRONG})

    assert client.post("/login", {"username": "LENA", "password": RIGHT}).status_code == 429


def test_counts_here_while_redis_does_not_answer(settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"

    waits = [logins.seconds_to_wait(account="lena", address="a") for _ in range(11)]

    assert waits == [0] * 10 + [900]
