"""Capabilities that a task needs: as many and as long as its form allows, and never mixed up."""

import pytest

from phases import services
from phases.models import Phase, ReadyTask, Task

MOST = [f"{number:02d}" + "a" * 62 for number in range(20)]


@pytest.fixture
def phase(team) -> Phase:
    services.seed_team(team=team)
    return Phase.objects.get(team=team, workflow__key="default", key="PHASE_REQUIREMENTS")


@pytest.fixture
def ask_for(api, admin, phase):
    """Changes what the phase's entry task needs."""

    def patch(capabilities: list[str]):
        entry = {"task_type": "a", "title": "a", "required_capabilities": capabilities}
        headers = {"If-Match": f'"v{phase.version}"'}
        return api(admin).patch(
            f"/api/v1/phases/{phase.pk}", {"entry_task": entry}, format="json", headers=headers
        )

    return patch


def test_twenty_long_ones_are_kept_and_found(api, lead, agent, phase):
    ticket = services.open_ticket(actor=lead, title="x", workflow="default", phase="PHASE_BACKLOG")
    body = {
        "ticket_id": str(ticket.pk),
        "task_type": "x",
        "title": "x",
        "required_capabilities": MOST,
    }

    made = api(lead).post("/api/v1/tasks", body, format="json")
    too_few = services.claim_tasks(actor=agent, capabilities=MOST[:19])
    found = services.claim_tasks(actor=agent, capabilities=MOST)

    assert made.status_code == 201, made.content
    assert too_few == []
    assert [str(claim.taken.task_id) for claim in found] == [made.json()["id"]]


def test_an_entry_task_with_them_opens_tickets(api, lead, agent, ask_for):
    changed = ask_for(MOST)

    opened = api(lead).post("/api/v1/tickets", {"title": "x", "workflow": "default"}, format="json")

    assert (changed.status_code, opened.status_code) == (200, 201), opened.content
    assert len(services.claim_tasks(actor=agent, capabilities=MOST)) == 1


@pytest.mark.parametrize("wrong", ["db,root", "", "a b", "x" * 65, "ä", "{a}"])
def test_an_entry_task_needs_what_the_form_of_a_task_allows(ask_for, phase, wrong):
    answer = ask_for(["code", wrong])

    assert answer.status_code == 400
    [fault] = answer.json()["errors"]
    assert fault["path"] == "entry_task.required_capabilities.1"
    phase.refresh_from_db()
    assert phase.entry_task["required_capabilities"] == ["analysis"]


def test_an_imported_one_too(api, admin, phase):
    text = services.export_workflow(workflow_id=phase.workflow_id)
    wrong = text.replace("- analysis", "- db,root", 1)
    assert wrong != text, text

    answer = api(admin).post(
        "/api/v1/workflows/import", {"yaml": wrong, "dry_run": True}, format="json"
    )

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"].endswith("required_capabilities.0")


def test_one_that_reads_as_two_is_not_two(lead, agent, phase):
    """Rows from before commas were refused."""
    ticket = services.open_ticket(actor=lead, title="x", workflow="default", phase="PHASE_BACKLOG")
    one, two = (
        services.create_task(
            actor=lead, ticket=ticket, task_type="x", title="x", required_capabilities=needs
        )
        for needs in (["db,root"], ["db", "root"])
    )

    rows = ReadyTask.objects.filter(pk__in=[one.pk, two.pk])
    keys = set(rows.values_list("capability_key"))
    [claim] = services.claim_tasks(actor=agent, capabilities=["db", "root"], limit=5)

    assert len(keys) == 2
    assert claim.taken.task_id == two.pk
    assert Task.objects.get(pk=one.pk).status == "pending"
