"""Reads single settings so that a wrong one stops the start by its name, and shows no value."""

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import Env

env = Env()
SHORTEST_SECRET = 32
MOST_DIGITS = 18


def whole(name: str, default: int, *, lowest: int, highest: int | None = None) -> int:
    """Raises ImproperlyConfigured."""
    text = env.str(name, "") or str(default)
    sign = text.removeprefix("-")
    if not (sign.isascii() and sign.isdigit() and len(sign) <= MOST_DIGITS):
        number = lowest - 1
    else:
        number = int(text)
    if number < lowest or (highest is not None and number > highest):
        end = "on" if highest is None else f"to {highest}"
        raise ImproperlyConfigured(f"{name} must be a whole number from {lowest} {end}.")
    return number


def secret(name: str, default: str) -> str:
    """A key nobody guesses, or none. Raises ImproperlyConfigured."""
    text = env.str(name, "") or default
    if text and len(text) < SHORTEST_SECRET:
        raise ImproperlyConfigured(f"{name} must be at least {SHORTEST_SECRET} characters long.")
    return text


def networks(name: str) -> list[str]:
    """Addresses and networks, with commas between them. Raises ImproperlyConfigured."""
    found = [text.strip() for text in env.str(name, "").split(",") if text.strip()]
    try:
        return [str(ipaddress.ip_network(text)) for text in found]
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} must be addresses or networks, such as 10.0.0.0/8,192.0.2.7."
        ) from None


def sentry(name: str) -> str:
    """A DSN, https://key@host/project, or none. Raises ImproperlyConfigured."""
    text = env.str(name, "")
    try:
        parts = urlsplit(text)
        well_formed = bool(
            parts.scheme in {"http", "https"}
            and parts.username
            and parts.hostname
            and parts.port != 0
            and parts.path.rpartition("/")[2].isdigit()
        )
    except ValueError:  # such as a port that is no number
        well_formed = False
    if text and not well_formed:
        raise ImproperlyConfigured(f"{name} must be of the form https://key@host/project.")
    return text


def one_of(name: str, default: str, words: Iterable[str]) -> str:
    """One of some words, in small letters. Raises ImproperlyConfigured."""
    word = (env.str(name, "") or default).lower()
    known = list(words)
    if word not in known:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(known)}.")
    return word


def url(name: str, default: str, schemes: Iterable[str]) -> str:
    """An address of one of some kinds, or none. Raises ImproperlyConfigured."""
    text = env.str(name, "") or default
    known = list(schemes)
    if text and urlsplit(text).scheme not in known:
        raise ImproperlyConfigured(f"{name} must begin with {' or '.join(f'{x}:' for x in known)}.")
    return text


def peppers(name: str, default: str) -> dict[str, bytes]:
    """`id:hex,id:hex`, each id once and none without its value. Raises ImproperlyConfigured."""
    found: dict[str, bytes] = {}
    for item in filter(None, (env.str(name, "") or default).split(",")):
        pepper_id, _, text = item.strip().partition(":")
        try:
            value = bytes.fromhex(text)
        except ValueError:
            value = b""
        if not pepper_id or not value or pepper_id in found:
            raise ImproperlyConfigured(f"{name} must be id:hex,id:hex, each id once.")
        found[pepper_id] = value
    return found


def made_up(path: Path, value: str) -> bool:
    """Whether the start made this secret up, which its file then keeps, and was not given it."""
    try:
        return bool(value) and path.read_text().strip() == value
    except OSError:
        return False
