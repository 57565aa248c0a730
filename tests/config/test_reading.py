"""A wrong setting stops the start by its name, and shows no value."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import reading

NAME = "LEMNOS_TEST_ONLY"


@pytest.fixture
def given(monkeypatch):
    return lambda text: monkeypatch.setenv(NAME, text)


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "٣", "0x1", "--5"])
def test_a_number_must_be_whole_and_not_too_small(given, text):
    given(text)

    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} ") as refusal:
        reading.whole(NAME, 2, lowest=0)
    assert text not in str(refusal.value)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("", 2)])
def test_a_number_is_read_and_nothing_is_the_default(given, text, number):
    given(text)

    assert reading.whole(NAME, 2, lowest=0) == number


def test_a_word_must_be_known_in_any_case_of_letters(given):
    given("WARNING")
    assert reading.one_of(NAME, "info", ["info", "warning"]) == "warning"

    given("loud")
    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} .*info, warning"):
        reading.one_of(NAME, "info", ["info", "warning"])


def test_an_address_must_be_of_a_kind_that_is_spoken(given):
    given("redis://u:hush@h")
    assert reading.url(NAME, "", ["redis"]) == "redis://u:hush@h"

    given("http://u:hush@h")
    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} ") as refusal:
        reading.url(NAME, "", ["redis"])
    assert "hush" not in str(refusal.value)


def test_peppers_are_read_newest_first(given):
    given("b:0102, a:03")

    assert list(reading.peppers(NAME, "").items()) == [("b", b"\1\2"), ("a", b"\3")]


@pytest.mark.parametrize("text", ["abc", "a:", ":00", "a:zz", "a:00,a:11"])
def test_a_pepper_is_never_empty_nor_doubled(given, text):
    given(text)

    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} "):
        reading.peppers(NAME, "")


@pytest.mark.parametrize("text", ["99999", "0", "1" * 5000])
def test_a_port_is_one_that_there_is(given, text):
    given(text)

    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} .* 1 to 65535"):
        reading.whole(NAME, 8000, lowest=1, highest=65535)


def test_a_secret_is_long_or_not_there(given):
    given("x" * 31)
    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} .*32"):
        reading.secret(NAME, "")

    given("x" * 32)
    assert reading.secret(NAME, "") == "x" * 32
    given("")
    assert reading.secret(NAME, "") == ""


def test_proxies_are_addresses_and_networks(given):
    given("192.0.2.7, 10.0.0.0/8,fd00::/8")

    assert reading.networks(NAME) == ["192.0.2.7/32", "10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize("text", ["proxy", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;1.2.3.4"])
def test_a_proxy_that_is_no_address_is_refused(given, text):
    given(text)

    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} ") as refusal:
        reading.networks(NAME)
    assert text not in str(refusal.value)


@pytest.mark.parametrize("text", ["hush", "https://host/1", "https://hush@host", "ftp://k@host/1",
                                  "https://hush@host:many/1", "https://hush@/1"])  # fmt: skip
def test_a_place_for_crashes_has_its_form(given, text):
    given(text)

    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} ") as refusal:
        reading.sentry(NAME)
    assert "hush" not in str(refusal.value)


def test_a_place_for_crashes_is_read(given):
    given("https://key@sentry.example.org/4")

    assert reading.sentry(NAME) == "https://key@sentry.example.org/4"
