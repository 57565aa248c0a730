"""GET T/timeline: what happened to a ticket, as rows that can be paged and filtered."""

import pytest

from phases import services


@pytest.fixture
def ticket(team, lead):
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="Ship", workflow="software_development")


@pytest.fixture
def where(ticket):
    return f"/api/v1/tickets/{ticket.pk}/timeline"


def test_tells_of_the_ticket_and_its_tasks_and_evidence_newest_first(
    ticket, where, lead, agent, viewer, api
):
    [claim] = services.claim_tasks(actor=agent, capabilities=["analysis"])
    services.add_artifact(actor=agent, ticket_id=ticket.pk, artifact_type="note", content="seen")
    other = services.open_ticket(actor=lead, title="Dock", workflow="software_development")

    answer = api(viewer).get(where)

    assert answer.status_code == 200
    rows = answer.json()["results"]
    assert [row["kind"].removeprefix("phases.") for row in rows] == [
        "artifact.added",
        "task.claimed",
        "task.readied",
        "task.created",
        "ticket.created",
    ]
    took = rows[1]
    assert took["text"] == "took “Analyse the requirements”"
    assert took["subject"] == {"label": "phases.task", "id": str(claim.task.pk)}
    assert took["data"]["ticket_id"] == str(ticket.pk)
    assert rows[-1]["actor"] == {"id": str(lead.id), "name": lead.name, "kind": "human"}
    assert str(other.pk) not in answer.content.decode()


def test_is_filtered_by_kind_under_either_name(where, lead, api):
    client = api(lead)

    stored = client.get(f"{where}?kind=phases.ticket.created").json()["results"]
    alias = client.get(f"{where}?kind=ticket.created").json()["results"]
    both = client.get(f"{where}?kind=ticket.created,task.created").json()["results"]

    assert [row["text"] for row in stored] == ["opened this ticket"]
    assert stored == alias
    assert len(both) == 2
    assert client.get(f"{where}?kind=ticket.sunk").json()["results"] == []


def test_pages_lose_and_double_nothing(ticket, where, lead, api):
    for n in range(5):
        services.create_task(actor=lead, ticket=ticket, task_type="x", title=f"Task {n}")
    client = api(lead)

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(where, {"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [row["id"] for row in page["results"]]
        cursor = page["next"]

    whole = client.get(f"{where}?limit=200").json()["results"]
    assert seen == [row["id"] for row in whole]
    assert len(seen) == len(set(seen)) > 10


@pytest.mark.parametrize("query", ["limit=0", "cursor=x", "colour=red"])
def test_refuses_an_odd_question_by_name(where, lead, api, query):
    answer = api(lead).get(f"{where}?{query}")

    assert answer.status_code == 400
    assert query.split("=")[0] in str(answer.json())


def test_is_for_the_team(where, outsider, api):
    assert api(outsider).get(where).status_code == 404
    assert api().get(where).status_code == 401
