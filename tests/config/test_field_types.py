"""No body of any app takes a value of another JSON type than its field's."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from django.http import QueryDict
from rest_framework import serializers

from guardian.models import uuid7
from guardian.strict import StrictSerializer
from phases.serializers import MoveCard

for app in ("guardian", "phases", "tools", "memory", "orchestrator"):
    import_module(f"{app}.urls")

TEXTS = (serializers.CharField, serializers.UUIDField, serializers.ChoiceField)


def bodies(base: type = StrictSerializer) -> Iterator[type[StrictSerializer]]:
    for body in base.__subclasses__():
        yield body
        yield from bodies(body)


def fields(*kinds: type) -> list[tuple[type[StrictSerializer], str]]:
    return [
        (body, name)
        for body in bodies()
        for name, field in body().fields.items()
        if isinstance(field, kinds) and not field.read_only
    ]


FIELDS = fields(*TEXTS)
NUMBERS = fields(serializers.IntegerField, serializers.FloatField)
TRUTHS = fields(serializers.BooleanField)


@pytest.mark.parametrize(("body", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
def test_every_text_of_every_body_refuses_another_type(body, name):
    asked = [body(data={name: value}) for value in (5, 1.5, True, ["x"], {"x": "y"})]

    assert [one.is_valid() for one in asked] == [False] * 5
    assert [list(map(str, one.errors[name])) for one in asked] == [["Must be a text."]] * 5


@pytest.mark.parametrize(("body", "name"), NUMBERS, ids=lambda x: getattr(x, "__name__", x))
def test_every_number_of_every_body_refuses_another_type(body, name):
    asked = [body(data={name: value}) for value in ("5", "1.5", "", True, [5], {"x": 5})]

    assert [one.is_valid() for one in asked] == [False] * 6
    assert [list(map(str, one.errors[name])) for one in asked] == [["Must be a number."]] * 6


@pytest.mark.parametrize(("body", "name"), TRUTHS, ids=lambda x: getattr(x, "__name__", x))
def test_every_truth_value_of_every_body_refuses_another_type(body, name):
    asked = [body(data={name: value}) for value in ("yes", "true", "", 1, 0, [True])]

    assert [one.is_valid() for one in asked] == [False] * 6
    assert [list(map(str, one.errors[name])) for one in asked] == [["Must be true or false."]] * 6


def test_a_form_has_texts_alone_and_is_read():
    form = MoveCard(data=QueryDict(f"ticket_id={uuid7()}&column=intake&position=3&force=true"))

    assert form.is_valid(), form.errors
    assert (form.validated_data["position"], form.validated_data["force"]) == (3, True)


def test_there_are_bodies_of_every_app():
    apps = {body.__module__.partition(".")[0] for body, _ in FIELDS}

    assert apps == {"guardian", "phases", "tools", "memory", "orchestrator"}
    assert NUMBERS
    assert TRUTHS


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
