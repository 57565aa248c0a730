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
