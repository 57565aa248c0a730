"""The permission matrix of docs/permissions.csv: each route, who may, on own and foreign rows."""

import csv
import json
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from guardian import services as guardian
from tests.config.world import QUERIES, World, bodies, client_of, make_world, past

TABLE = settings.BASE_DIR / "docs" / "permissions.csv"
DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(public=True)
WHO = (
    "anonymous", "viewer", "operator", "author", "admin", "agent", "other_agent", "revoked",
    "expired",
)  # fmt: skip
OPERATIONS = sorted(
    (path, method, operation["x-scope"])
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
)
# Not a row of JSON: tried with a file of its own.
UPLOADS = {"post /api/v1/files"}


def expected() -> dict[tuple[str, str], dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {(row["path"], row["method"]): row for row in csv.DictReader(file)}


def clients(here: World) -> dict[str, APIClient]:
    found = {"anonymous": APIClient(raise_request_exception=False)}
    for name, actor in here.people.items():
        found[name], _ = client_of(actor)
    admin = here.people["admin"]
    found["revoked"], token = client_of(admin)
    guardian.revoke_token(actor=admin, token_id=token.pk, reason="for the matrix")
    found["expired"], token = client_of(admin)
    past(token)
    return found


def outcome(client: APIClient, method: str, path: str, there: World) -> str:
    """`yes`, or the status of the refusal; what the request did is undone."""
    where = f"{method} {path}"
    with transaction.atomic():
        if where in UPLOADS:
            answer = client.post(
                path, b"bytes", content_type="application/octet-stream",
                headers={"Content-Disposition": 'attachment; filename="a.bin"'},
            )  # fmt: skip
        elif method == "get":
            asked = QUERIES.get(where, lambda _: {})(there)
            answer = client.get(there.address(path), asked)
        else:
            answer = client.generic(
                method.upper(), there.address(path), json.dumps(bodies(there).get(where, {})),
                content_type="application/json", headers={"If-Match": "*"},
            )  # fmt: skip
        transaction.set_rollback(True)
    return "yes" if answer.status_code < 400 else str(answer.status_code)


def observed(here: World, abroad: World) -> dict[tuple[str, str], dict[str, str]]:
    """The whole table as the application behaves; foreign cells only where a row is addressed."""
    people = clients(here)
    found = {}
    for path, method, scope in OPERATIONS:
        row = {"method": method, "path": path, "scope": scope}
        foreign = "{" in path and "/tools/{id}" not in path  # the shipped tools are everybody's
        for who in WHO:
            cell = outcome(people[who], method, path, here)
            row[who] = f"{cell}/{outcome(people[who], method, path, abroad)}" if foreign else cell
        found[path, method] = row
    return found


def test_every_route_has_its_row():
    known = expected()
    routes = {(path, method) for path, method, _ in OPERATIONS}

    assert routes - set(known) == set(), "add these to docs/permissions.csv"
    assert set(known) - routes == set(), "these routes are gone"
    assert {key: row["scope"] for key, row in known.items()} == {
        (path, method): scope for path, method, scope in OPERATIONS
    }


@pytest.mark.slow
@pytest.mark.django_db
def test_each_cell_is_as_the_table_says():
    here, abroad = make_world("harbour"), make_world("island")
    known, found = expected(), observed(here, abroad)

    wrong = [
        f"{method} {path} {who}: is {row[who]}, should be {known[path, method][who]}"
        for (path, method), row in found.items()
        for who in WHO
        if (path, method) in known and row[who] != known[path, method][who]
    ]

    assert wrong == [], "\n".join(wrong)


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
