"""No body of any app takes a number where a text belongs."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from rest_framework import serializers

from guardian.strict import StrictSerializer

for app in ("guardian", "phases", "tools", "memory", "orchestrator"):
    import_module(f"{app}.urls")

TEXTS = (serializers.CharField, serializers.UUIDField, serializers.ChoiceField)


def bodies(base: type = StrictSerializer) -> Iterator[type[StrictSerializer]]:
    for body in base.__subclasses__():
        yield body
        yield from bodies(body)


FIELDS = [
    (body, name)
    for body in bodies()
    for name, field in body().fields.items()
    if isinstance(field, TEXTS) and not field.read_only
]


@pytest.mark.parametrize(("body", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
def test_every_text_of_every_body_refuses_another_type(body, name):
    asked = [body(data={name: value}) for value in (5, 1.5, True, ["x"], {"x": "y"})]

    assert [one.is_valid() for one in asked] == [False] * 5
    assert [list(map(str, one.errors[name])) for one in asked] == [["Must be a text."]] * 5


def test_there_are_bodies_of_every_app():
    apps = {body.__module__.partition(".")[0] for body, _ in FIELDS}

    assert apps == {"guardian", "phases", "tools", "memory", "orchestrator"}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"title": 5}, "title"),
        ({"title": "t", "labels": ["ok", 7]}, "labels[1]"),
        ({"title": "t", "description": 1}, "description"),
        ({"title": "t", "priority": 1}, "priority"),
        ({"title": "t", "context": "x"}, "context"),
        ({"title": "t", "workflow": 3}, "workflow"),
    ],
)
def test_a_new_ticket_names_the_field_of_the_wrong_type(api, lead, body, path):
    answer = api(lead).post("/api/v1/tickets", body, format="json")

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [fault["path"] for fault in answer.json()["errors"]] == [path]
