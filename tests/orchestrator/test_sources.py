"""A checkup's source: what is wrong with it is said at the door, and nothing is made."""

from typing import Any
from uuid import uuid4

import pytest

from orchestrator import sources
from phases import services as phases
from phases.models import Ticket
from tests.tools.archives import PASSING, tar_gz
from tools import services as tools

SELF = {"kind": "self"}


@pytest.fixture(autouse=True)
def flow(team):
    phases.seed_team(team=team)


def upload(actor) -> dict[str, str]:
    row, _ = tools.store_file(actor=actor, name="source.tar.gz", content=tar_gz(PASSING))
    return {"kind": "archive", "file_id": str(row.pk)}


def post(client, **context: Any):
    body = {"title": "Is it sound?", "workflow": "repo_checkup", "context": context}
    return client.post("/api/v1/tickets", body, format="json")


WRONG: list[tuple[Any, str]] = [
    (None, "context.source"),
    ("https://example.org/x.git", "context.source"),
    ([], "context.source"),
    ({}, "context.source.kind"),
    ({"kind": "tape"}, "context.source.kind"),
    ({"kind": 5}, "context.source.kind"),
    ({"kind": ["self"]}, "context.source.kind"),
    ({"kind": "git", "provider": "x", "ref": "main"}, "context.source.kind"),
    ({"kind": "archive"}, "context.source.file_id"),
    ({"kind": "archive", "file_id": 7}, "context.source.file_id"),
    ({"kind": "archive", "file_id": "seven"}, "context.source.file_id"),
    ({"kind": "archive", "file_id": str(uuid4())}, "context.source.file_id"),
    ({"kind": "self", "file_id": str(uuid4())}, "context.source.file_id"),
]


class TestOpening:
    @pytest.mark.parametrize(("source", "path"), WRONG)
    def test_a_wrong_source_is_refused_with_its_path_and_a_remedy(self, api, lead, source, path):
        answer = post(api(lead), source=source)

        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (400, "source_invalid")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert [fault["path"] for fault in problem["errors"]] == [path]
        assert problem["remedy"]["text"]
        assert not Ticket.objects.exists()

    def test_a_checkup_of_nothing_is_refused(self, api, lead):
        answer = post(api(lead))

        assert answer.status_code == 400
        assert answer.json()["errors"] == [
            {"path": "context.source", "code": "source_invalid", "message": "is missing"}
        ]

    def test_a_file_of_another_team_does_not_exist_here(self, api, lead, outsider):
        theirs, unknown = upload(outsider), {"kind": "archive", "file_id": str(uuid4())}

        answers = [post(api(lead), source=source).json() for source in (theirs, unknown)]

        assert answers[0]["errors"] == answers[1]["errors"]
        assert answers[0]["remedy"]["text"] == "Upload the file again: POST /api/v1/files."

    def test_a_good_source_is_taken_as_it_is(self, api, lead):
        source = upload(lead)

        answers = [post(api(lead), source=good) for good in (source, SELF)]

        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json()["context"]["source"] == source

    def test_a_workflow_that_reads_no_source_takes_any(self, api, lead):
        body = {"title": "t", "context": {"source": "a customer's mail"}}

        answer = api(lead).post("/api/v1/tickets", body, format="json")

        assert answer.status_code == 201

    def test_only_what_can_be_opened_here_is_offered(self, api, lead):
        text = post(api(lead), source={"kind": "git"}).json()["detail"]

        assert text.endswith("context.source.kind must be archive or self.")
        assert " or ".join(sources.KINDS) == "archive or self"


@pytest.mark.parametrize(("source", "path"), WRONG)
def test_a_wrong_source_is_refused_in_an_edit_too_and_changes_nothing(api, lead, source, path):
    ticket = phases.open_ticket(
        actor=lead, title="t", workflow="repo_checkup", context={"source": SELF}
    )

    answer = api(lead).patch(
        f"/api/v1/tickets/{ticket.pk}",
        {"context": {"source": source}},
        format="json",
        headers={"If-Match": '"v1"'},
    )

    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["errors"]] == [path]
    after = Ticket.objects.get(pk=ticket.pk)
    assert (after.version, after.context) == (1, {"source": SELF})
