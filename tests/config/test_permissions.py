"""The permission matrix of docs/permissions.csv: each route, who may, on own and foreign rows."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from guardian import services as guardian
from guardian import sse, stream_schema
from guardian.authority import actor_for
from guardian.errors import DomainError
from tests.config import routes
from tests.config.world import QUERIES, World, bodies, client_of, make_world, past
from tools.models import Tool

TABLE = settings.BASE_DIR / "docs" / "permissions.csv"
DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(public=True)
WHO = (
    "anonymous", "viewer", "operator", "author", "admin", "agent", "other_agent", "revoked",
    "expired",
)  # fmt: skip
OPERATIONS = routes.operations()
# Answered before Django's views are asked: their rows are tried where they live.
ELSEWHERE = {("/api/v1/events/stream", "get")}  # tests/guardian/test_feed.py
# Who is enough to show that a second address is the same view: nobody, too little, an owner, all.
FEW = ("anonymous", "viewer", "agent", "admin")
# Not a row of JSON: tried with a file of its own.
UPLOADS = {"post /api/v1/files"}


@cache
def expected() -> dict[tuple[str, str], dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {(row["path"], row["method"]): row for row in csv.DictReader(file)}


def clients(here: World) -> dict[str, APIClient]:
    found = {"anonymous": APIClient(raise_request_exception=False)}
    for name, actor in here.people.items():
        found[name], token = client_of(actor)
        # What its token says is known here: it need not be read anew for each cell.
        found[name].credentials()
        found[name].force_authenticate(
            actor.user, replace(actor_for(actor.user, here.team), token_id=token.pk)
        )
    admin = here.people["admin"]
    found["revoked"], token = client_of(admin)
    guardian.revoke_token(actor=admin, token_id=token.pk, reason="for the matrix")
    found["expired"], token = client_of(admin)
    past(token)
    return found


Request = Callable[[APIClient], Any]


def request_for(method: str, path: str, root: str, there: World) -> Request:
    """What asks for `path` under the name it has in `root`, about a row of `there`."""
    where = f"{method} {root}"
    address = path.split("{", maxsplit=1)[0] + there.address(root).removeprefix(
        root.split("{", maxsplit=1)[0]
    )
    if where in UPLOADS:
        return lambda client: client.post(
            address, b"bytes", content_type="application/octet-stream",
            headers={"Content-Disposition": 'attachment; filename="a.bin"'},
        )  # fmt: skip
    if method == "get":
        asked = QUERIES.get(where, lambda _: {})(there)
        return lambda client: client.get(address, asked)
    body = json.dumps(bodies(there).get(where, {}))
    return lambda client: client.generic(
        method.upper(), address, body, content_type="application/json", headers={"If-Match": "*"}
    )


def outcome(client: APIClient, request: Request) -> str:
    """`yes`, or the status of the refusal; what the request did is undone."""
    with transaction.atomic():
        answer = request(client)
        transaction.set_rollback(True)
    return "yes" if answer.status_code < 400 else str(answer.status_code)


def observed(
    people: dict[str, APIClient], here: World, abroad: World, *, path: str, root: str, method: str
) -> dict[str, str]:
    """A row as the application behaves; foreign cells only where a row is addressed."""
    mine = request_for(method, path, root, here)
    theirs = request_for(method, path, root, abroad) if "{" in path else None
    row = {}
    for who, client in people.items():
        cell = outcome(client, mine)
        row[who] = f"{cell}/{outcome(client, theirs)}" if theirs else cell
    return row


def entry_to_stream(client: APIClient) -> str:
    """The stream's own door: it is served beside Django, for hours, and is not entered here."""
    token = vars(client)["_credentials"].get("HTTP_AUTHORIZATION", "")
    headers = [(b"authorization", token.encode())] if token else []
    try:
        sse.admit({"headers": headers, "path": stream_schema.PATH, "query_string": b""})
    except DomainError as refusal:
        return str(refusal.status)
    return "yes"


def test_every_route_has_its_row():
    known = expected()
    found = {(path, method) for path, method, _ in OPERATIONS}

    assert found - set(known) == set(), "add these to docs/permissions.csv"
    assert set(known) - found - ELSEWHERE == set(), "these routes are gone"
    assert {key: row["scope"] for key, row in known.items() if key not in ELSEWHERE} == {
        (path, method): scope for path, method, scope in OPERATIONS
    }


def test_the_description_of_the_api_leaves_no_operation_out():
    described = {(path, method) for path, some in DOCUMENT["paths"].items() for method in some}

    assert {(path, method) for path, method, _ in OPERATIONS} == described - ELSEWHERE


def test_every_second_address_is_that_of_an_operation():
    known = {(path, method) for path, method, _ in OPERATIONS}

    assert {(original, method) for _, original, method in routes.aliases()} <= known
    for root in routes.ALIASES.values():
        below = {key for key in known if key[0] == root or key[0].startswith(f"{root}/")}
        assert below == {
            (original, method)
            for _, original, method in routes.aliases()
            if original == root or original.startswith(f"{root}/")
        }, root


@pytest.fixture(scope="module")
def worlds(django_db_setup, django_db_blocker):
    """Two teams and the clients of one, made once; what each test does is undone."""
    with django_db_blocker.unblock(), transaction.atomic():
        here, abroad = make_world("harbour"), make_world("island")
        yield clients(here), here, abroad
        transaction.set_rollback(True)


@pytest.mark.slow
@pytest.mark.django_db
def test_each_cell_is_as_the_table_says(worlds):
    people, here, abroad = worlds
    known = expected()

    wrong = [
        f"{method} {path} {who}: is {is_now}, should be {known[path, method][who]}"
        for path, method, _ in OPERATIONS
        for who, is_now in observed(
            people, here, abroad, path=path, root=path, method=method
        ).items()
        if (path, method) in known and is_now != known[path, method][who]
    ]

    assert wrong == [], "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_second_address_answers_as_the_first(worlds):
    people, here, abroad = worlds
    few, known = {who: people[who] for who in FEW}, expected()

    wrong = [
        f"{method} {path} {who}: is {is_now}, should be {known[original, method][who]}"
        for path, original, method in routes.aliases()
        for who, is_now in observed(
            few, here, abroad, path=path, root=original, method=method
        ).items()
        if is_now != known[original, method][who]
    ]

    assert wrong == [], "\n".join(wrong)


@pytest.mark.django_db
def test_the_stream_lets_in_whom_its_row_names(worlds):
    people, here, _ = worlds
    programs = {name: client_of(actor)[0] for name, actor in here.people.items()}
    programs |= {name: people[name] for name in ("anonymous", "revoked", "expired")}

    assert {who: entry_to_stream(client) for who, client in programs.items()} == {
        who: expected()[stream_schema.PATH, "get"][who] for who in WHO
    }


@pytest.mark.django_db
def test_a_tool_of_all_teams_is_everybodys(worlds):
    people, here, _ = worlds
    shared = Tool.objects.get(team=None, name="count_lines")
    body = {"input": {"text": "a"}, "wait": 0}

    for who in here.people:
        client = people[who]
        assert client.get(f"/api/v1/tools/{shared.pk}").status_code == 200, who
        assert client.get(f"/api/v1/tools/{shared.pk}/history").status_code == 200, who
        ran = client.post(f"/api/v1/tools/{shared.pk}/execute", body, format="json")
        assert ran.status_code == (403 if who == "viewer" else 202), (who, ran.content)


class TestTheTableItself:
    """What must hold of every row, so that a wrong cell is not simply written down."""

    def test_nobody_gets_in_without_a_valid_credential(self):
        for key, row in expected().items():
            for who in ("anonymous", "revoked", "expired"):
                assert set(row[who].split("/")) == {"401"}, (key, who)

    def test_a_role_without_the_scope_is_refused_and_one_with_it_is_let_to_the_row(self):
        from guardian.authority import ROLE_SCOPES

        roles = {**{r: r for r in ("viewer", "operator", "author", "admin")}, "agent": "agent",
                 "other_agent": "agent"}  # fmt: skip
        for key, row in expected().items():
            for who, role in roles.items():
                own, _, foreign = row[who].partition("/")
                if row["scope"] not in ROLE_SCOPES[role]:
                    assert own == "403", (key, who)
                    assert foreign in {"", "403", "404"}, (key, who)
                elif foreign:  # or nobody of this role gets as far as a row
                    assert foreign == "404" or own == foreign == "403", (key, who)

    def test_changes_by_a_viewer_are_of_their_own_tokens_alone(self):
        for key, row in expected().items():
            reads = row["method"] == "get" or row["scope"].endswith(":read")
            if not reads and row["scope"] != "tokens:self":
                assert row["viewer"].split("/")[0] == "403", key
