"""Reads single settings so that a wrong one stops the start by its name, and shows no value."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import Env

env = Env()


def whole(name: str, default: int, *, lowest: int) -> int:
    """Raises ImproperlyConfigured."""
    text = env.str(name, "") or str(default)
    sign = text.removeprefix("-")
    if not (sign.isascii() and sign.isdigit()) or int(text) < lowest:
        raise ImproperlyConfigured(f"{name} must be a whole number from {lowest} on.")
    return int(text)


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
