"""How lists are asked, tried on every list that the API describes."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.core import signing
from drf_spectacular.generators import SchemaGenerator

from phases import services
from phases.models import Ticket

DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(public=True)
# Stands for a cursor with a signature of ours that no list made.
SIGNED = "signed"
LISTS = [
    pytest.param(path, operation, id=path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method == "get"
    and "{" not in path
    and any(p["name"] == "ordering" for p in operation.get("parameters", []))
]
FIT = {"integer": "1", "number": "1", "boolean": "true"}
FORMATS = {"uuid": str(uuid4()), "date-time": "2026-01-31T12:00:00Z", "date": "2026-01-31"}


def values(schema: dict[str, Any]) -> tuple[str, str | None]:
    """One value that fits, and one that does not."""
    one = schema.get("items", schema)
    if "enum" in one:
        return str(one["enum"][0]), "of-no-such-kind"
    if one.get("format") in FORMATS:
        return FORMATS[one["format"]], "never"
    if one["type"] in FIT:
        return FIT[one["type"]], "perhaps"
    return "x", None


def filters(operation: dict[str, Any]) -> list[dict[str, Any]]:
    aside = {"limit", "cursor", "ordering", "total", "search"}
    return [p for p in operation["parameters"] if p["name"] not in aside and p["in"] == "query"]


def names(operation: dict[str, Any]) -> list[str]:
    text = next(p for p in operation["parameters"] if p["name"] == "ordering")["description"]
    return [name.strip() for name in text.split(" of ", 1)[1].split(";")[0].split(",")]


def test_there_are_lists_to_try():
    assert len(LISTS) > 10


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "operation"), LISTS)
class TestEveryList:
    def test_takes_each_filter_it_describes(self, path, operation, api, admin):
        client = api(admin)
        for parameter in filters(operation):
            fit, unfit = values(parameter["schema"])

            found = client.get(path, {parameter["name"]: fit})
            assert found.status_code == 200, (parameter["name"], fit, found.json())
            if unfit is not None:
                refused = client.get(path, {parameter["name"]: unfit})
                assert refused.json()["code"] == "bad_filter", (parameter["name"], refused.json())
                assert refused.json()["errors"][0]["path"] == parameter["name"]

    def test_can_be_ordered_by_each_name_both_ways(self, path, operation, api, admin):
        client = api(admin)
        for name in names(operation):
            for sign in ("", "-"):
                answer = client.get(path, {"ordering": f"{sign}{name}", "limit": 1})
                assert answer.status_code == 200, (name, answer.json())

    @pytest.mark.parametrize(
        ("name", "value", "code"),
        [
            ("no_such_filter", "1", "bad_filter"),
            ("ordering", "no_such_name", "bad_filter"),
            ("ordering", "id,-", "bad_filter"),
            ("limit", "0", "bad_filter"),
            ("limit", "201", "bad_filter"),
            ("limit", "\u00b2", "bad_filter"),
            ("total", "perhaps", "bad_filter"),
            ("cursor", "made-up", "bad_cursor"),
            ("cursor", SIGNED, "bad_cursor"),
        ],
    )
    def test_names_what_it_does_not_take(self, path, operation, api, admin, name, value, code):
        sent = signing.dumps(["1"], salt="cursor") if value == SIGNED else value
        answer = api(admin).get(path, {name: sent})

        assert (answer.status_code, answer.json()["code"]) == (400, code)

    def test_counts_when_asked(self, path, operation, api, admin):
        client = api(admin)
        assert "total" not in client.get(path).json()
        assert client.get(path, {"total": "true", "limit": 1}).json()["total"] >= 0


@pytest.fixture
def fleet(team, lead):
    """Twelve tickets of three priorities, made in another order than theirs."""
    services.seed_team(team=team)
    priorities = [Ticket.Priority.HIGH, Ticket.Priority.LOW, Ticket.Priority.MEDIUM]
    return [
        services.open_ticket(actor=lead, title=f"Ship {n}", priority=priorities[n % 3])
        for n in range(12)
    ]


def walk(client, path, asked, between=lambda: None):
    """Every row of a list by pages of three; something happens between two of them."""
    rows, cursor = [], None
    while True:
        page = client.get(path, {**asked, "limit": 3, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200, page.json()
        rows += page.json()["results"]
        cursor = page.json()["next"]
        if cursor is None:
            return rows
        between()


@pytest.mark.django_db
class TestPaging:
    @pytest.mark.parametrize(
        "ordering", ["id", "-id", "-number", "created_at", "status,-number", "-created_at,number"]
    )
    def test_rows_written_meanwhile_are_neither_doubled_nor_lost(
        self, api, lead, team, fleet, ordering
    ):
        made = []

        def disturb():
            made.append(services.open_ticket(actor=lead, title="Meanwhile"))

        rows = walk(api(lead), "/api/v1/tickets", {"ordering": ordering}, disturb)

        ids = [row["id"] for row in rows]
        assert len(ids) == len(set(ids))
        assert {str(ticket.pk) for ticket in fleet} <= set(ids)
        assert made

    def test_the_rows_come_in_the_asked_order(self, api, lead, fleet):
        rows = walk(api(lead), "/api/v1/tickets", {"ordering": "-number"})

        assert [row["number"] for row in rows] == sorted((r["number"] for r in rows), reverse=True)

    def test_a_cursor_goes_on_only_in_the_list_that_made_it(self, api, lead, fleet):
        client = api(lead)
        cursor = client.get("/api/v1/tickets", {"limit": 3}).json()["next"]

        for path, asked in (
            ("/api/v1/tickets", {"ordering": "number"}),
            ("/api/v1/tickets", {"status": "pending"}),
            ("/api/v1/tasks", {}),
        ):
            answer = client.get(path, {**asked, "cursor": cursor})
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor"), path

    def test_searches_for_all_words_in_any_order(self, api, lead, fleet):
        client = api(lead)

        found = client.get("/api/v1/tickets", {"search": "11 ship"}).json()["results"]

        assert [row["title"] for row in found] == ["Ship 11"]
        assert client.get("/api/v1/tickets", {"search": "ship nowhere"}).json()["results"] == []

    def test_filters_take_several_values_bounds_and_absence(self, api, lead, fleet):
        client = api(lead)
        numbers = [ticket.number for ticket in fleet]

        def found(**asked):
            rows = client.get("/api/v1/tickets", {**asked, "ordering": "number"}).json()["results"]
            return [row["number"] for row in rows]

        assert found(number__in=f"{numbers[2]},{numbers[4]}") == [numbers[2], numbers[4]]
        assert found(number__gte=numbers[10]) == numbers[10:]
        assert found(number__lte=numbers[1], number__gte=numbers[1]) == [numbers[1]]
        assert found(assignee__isnull="true") == numbers
        assert found(assignee__isnull="false") == []


def test_the_description_of_a_list_is_its_page():
    schema = DOCUMENT["paths"]["/api/v1/tickets"]["get"]["responses"]["200"]["content"]
    while "$ref" in (shape := schema["application/json"]["schema"]):
        name = shape["$ref"].rsplit("/", 1)[1]
        schema = {"application/json": {"schema": DOCUMENT["components"]["schemas"][name]}}

    assert set(shape["properties"]) == {"results", "next", "total"}, json.dumps(shape)
