"""Operators import and export workflows and change limits and prompts, with a reason."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from guardian.models import Event
from phases import services
from phases.models import BoardColumn, Phase, Workflow
from tests.config.test_admin_buttons import REASON, press, press_url, shown
from tests.phases.test_workflow_yaml import SMALL


@pytest.fixture(autouse=True)
def seeded(team):
    services.seed_team(team=team)


@pytest.fixture
def enter():
    def client(actor):
        made = Client()
        made.force_login(actor.user)
        return made

    return client


IMPORT = "admin:phases_workflow_import"


def export(client):
    flow = Workflow.objects.get(key="default")
    return client.get(reverse("admin:phases_workflow_export", args=[flow.pk]))


def test_the_pages_lead_to_import_and_export(enter, admin):
    client = enter(admin)
    flow = Workflow.objects.get(key="default")

    listed = client.get(reverse("admin:phases_workflow_changelist"))
    page = client.get(reverse("admin:phases_workflow_change", args=[flow.pk]))

    assert reverse(IMPORT) in listed.content.decode()
    assert reverse("admin:phases_workflow_export", args=[flow.pk]) in page.content.decode()
    file = export(client)
    assert file["Content-Disposition"] == 'attachment; filename="default.yaml"'
    assert file.content.startswith(b"format: 1\nkey: default\n")


def test_an_import_shows_what_it_would_do_and_then_asks_why(enter, admin):
    client = enter(admin)
    text = export(client).content.decode().replace("name: Design\n", "name: Plan\n")
    file = SimpleUploadedFile("flow.yaml", text.encode())

    asked = client.post(reverse(IMPORT), {"file": file, "overwrite": "on"})

    body = asked.content.decode()
    assert "phases.PHASE_DESIGN.name" in body
    assert "<del>Design</del>" in body
    assert "<ins>Plan</ins>" in body
    assert Phase.objects.get(workflow__key="default", key="PHASE_DESIGN").name == "Design"

    digest = asked.context["plan"].digest
    send = {"yaml": text.replace("\n", "\r\n"), "overwrite": "on", "digest": digest}
    without = client.post(reverse(IMPORT), {**send, "reason": ""})
    assert without.context["why"].errors
    done = client.post(reverse(IMPORT), {**send, "reason": REASON}, follow=True)

    assert shown(done) == ["Imported Default: 1 changed."]
    assert Phase.objects.get(workflow__key="default", key="PHASE_DESIGN").name == "Plan"
    event = Event.objects.get(kind="phases.workflow.imported")
    assert (event.reason, event.actor_id) == (REASON, admin.id)


def test_what_was_changed_meanwhile_is_shown_before_anything_is_stored(enter, admin):
    client = enter(admin)
    text = export(client).content.decode().replace("name: Design\n", "name: Plan\n")
    asked = client.post(reverse(IMPORT), {"yaml": text, "overwrite": "on"})
    Phase.objects.filter(workflow__key="default", key="PHASE_TESTING").update(name="Trial")

    again = client.post(
        reverse(IMPORT),
        {"yaml": text, "overwrite": "on", "digest": asked.context["plan"].digest, "reason": REASON},
    )

    assert "changed meanwhile" in again.content.decode()
    assert "phases.PHASE_TESTING.name" in again.content.decode()
    assert Phase.objects.get(workflow__key="default", key="PHASE_DESIGN").name == "Design"


def test_faults_are_told_with_their_lines(enter, admin):
    answer = enter(admin).post(reverse(IMPORT), {"yaml": SMALL.replace("small", "a b")})

    assert "Line 2: key" in answer.content.decode()
    for body in ({}, {"file": SimpleUploadedFile("a", b"\xff\xfe")}):
        assert enter(admin).post(reverse(IMPORT), body).context["form"].errors


def test_who_may_not_write_workflows_sees_and_exports_them_alone(enter, lead):
    client = enter(lead)

    assert client.get(reverse(IMPORT)).status_code == 403
    assert client.post(reverse(IMPORT), {"yaml": SMALL}).status_code == 403
    listed = client.get(reverse("admin:phases_workflow_changelist"))
    assert reverse(IMPORT) not in listed.content.decode()
    assert export(client).status_code == 200


def test_another_teams_workflow_is_not_exported(enter, lead, other_team):
    services.seed_team(team=other_team)
    theirs = Workflow.objects.get(team=other_team, key="default")

    answer = enter(lead).get(reverse("admin:phases_workflow_export", args=[theirs.pk]))

    assert answer.status_code == 404


def test_a_limit_is_changed_with_a_reason(enter, admin):
    column = BoardColumn.objects.get(workflow__key="default", key="testing")

    press(
        enter(admin), column, "change", name="Testing", wip_limit="2", auto_transition_to="",
        color="blue",
    )  # fmt: skip

    column.refresh_from_db()
    assert (column.wip_limit, column.version) == (2, 2)
    event = Event.objects.get(kind="phases.board.column_updated")
    assert (event.reason, event.data["changed"]) == (REASON, ["wip_limit"])


def test_a_prompt_is_changed_and_a_row_changed_meanwhile_is_left_alone(enter, admin):
    phase = Phase.objects.get(workflow__key="default", key="PHASE_DESIGN")
    client = enter(admin)
    values = {
        "name": "Design",
        "phase_prompt": "Draw first.\r\nThen write.",
        "next_steps_guide": "Go on.",
        "max_review_iterations": "3",
    }  # fmt: skip
    seen = client.get(press_url(phase, "change")).context["seen"]

    press(client, phase, "change", **values)

    phase.refresh_from_db()
    assert (phase.phase_prompt, phase.next_steps_guide) == ("Draw first.\nThen write.", ["Go on."])
    late = client.post(
        press_url(phase, "change"), {**values, "name": "Other", "reason": REASON, "seen": seen}
    )
    assert "changed meanwhile" in late.content.decode()
    assert Phase.objects.get(pk=phase.pk).name == "Design"
