"""Operators change rows by buttons alone: with a reason, by the service, within their rights."""

import pytest
from django.contrib import admin as django_admin
from django.test import Client
from django.urls import reverse

from guardian import console, links, relay
from guardian import services as guardian
from guardian.models import ApiToken, Delivery, ErrorLog, Event, GuardianAction, ResourceLock
from memory.models import MemoryRecord
from orchestrator import services as orchestrator
from orchestrator.models import AgentInstance
from phases import services as phases
from phases.models import PhaseGateArtifact, PhaseGateResult, PhaseHistory, Task, Ticket
from tests import factories
from tests.memory_factories import remember
from tools import services as tools
from tools.models import Tool, ToolExecution

REASON = "It has been stuck since noon."


@pytest.fixture
def ticket(team, admin) -> Ticket:
    phases.seed_team(team=team)
    return phases.open_ticket(actor=admin, title="Retry storm", workflow="software_development")


@pytest.fixture
def held(ticket, agent) -> Task:
    return phases.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


@pytest.fixture
def enter():
    """A browser's session of an actor."""

    def client(actor) -> Client:
        made = Client()
        made.force_login(actor.user)
        return made

    return client


def press_url(row, verb: str) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_press"
    return reverse(name, args=[row.pk, verb])


def press(client: Client, row, verb: str, **values):
    """As a browser does: open the page that asks, then send its form."""
    asked = client.get(press_url(row, verb))
    seen = (asked.context or {}).get("seen", "")
    return client.post(
        press_url(row, verb), {"reason": REASON, "seen": seen, **values}, follow=True
    )


def shown(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


class TestButtons:
    def test_releases_a_task_by_the_service_with_the_reason(self, enter, admin, held):
        answer = press(enter(admin), held, "release")

        task = Task.objects.get(pk=held.pk)
        assert (task.status, task.holder_id) == ("pending", None)
        event = Event.objects.get(kind="phases.task.released")
        assert (event.reason, event.actor_id) == (REASON, admin.id)
        assert shown(answer) == [f"Put back in the queue: {held.title}. Done."]

    @pytest.mark.parametrize("reason", ["", "  ", "no"])
    def test_without_a_reason_nothing_changes(self, enter, admin, held, reason):
        answer = enter(admin).post(press_url(held, "release"), {"reason": reason})

        assert answer.status_code == 200
        assert "reason" in answer.context["form"].errors
        assert Task.objects.get(pk=held.pk).status == "assigned"

    def test_a_page_explains_before_anything_happens(self, enter, admin, held):
        answer = enter(admin).get(press_url(held, "release"))

        assert "Ends the holder&#x27;s lease" in answer.content.decode()
        assert Task.objects.get(pk=held.pk).status == "assigned"

    def test_a_wrong_state_is_named_and_nothing_changes(self, enter, admin, ticket):
        task = Task.objects.get(ticket=ticket)

        answer = press(enter(admin), task, "retry")

        assert shown(answer) == [
            f"{task.title}: This task is pending. Choose what its present state allows."
        ]
        assert not Event.objects.filter(kind="phases.task.retried").exists()

    def test_a_refusal_names_its_remedy(self, enter, admin, ticket):
        answer = press(enter(admin), ticket, "move", to_phase="PHASE_DESIGN")

        assert "Provide the missing evidence" in shown(answer)[0]
        assert Ticket.objects.get(pk=ticket.pk).phase.key == "PHASE_REQUIREMENTS"

    def test_overriding_the_gate_leaves_its_mark_in_the_history(self, enter, admin, ticket):
        press(enter(admin), ticket, "move", to_phase="PHASE_DESIGN", override="on")

        moved = PhaseHistory.objects.get(ticket=ticket, kind="forward")
        assert (moved.via, moved.overrides, moved.transition_reason) == ("admin", ["gate"], REASON)

    def test_a_blocked_ticket_goes_back_to_where_it_was(self, enter, admin, ticket):
        phases.transition(
            actor=admin, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="no tests at all"
        )

        press(enter(admin), ticket, "retry")

        assert Ticket.objects.get(pk=ticket.pk).phase.key == "PHASE_REQUIREMENTS"

    def test_asking_the_gate_needs_no_reason_and_stores_the_answer(self, enter, admin, ticket):
        press(enter(admin), ticket, "ask_gate")

        assert PhaseGateResult.objects.get(ticket=ticket).gate_status == "failed"

    def test_cancels_a_ticket_with_its_tasks(self, enter, admin, ticket):
        press(enter(admin), ticket, "cancel")

        assert Ticket.objects.get(pk=ticket.pk).status == "cancelled"
        assert Task.objects.get(ticket=ticket).status == "cancelled"

    def test_a_cancelled_ticket_is_reopened_with_the_reason(self, enter, admin, ticket):
        press(enter(admin), ticket, "cancel")

        press(enter(admin), ticket, "reopen")

        assert Ticket.objects.get(pk=ticket.pk).status == "pending"
        assert Task.objects.get(ticket=ticket).status == "pending"
        row = PhaseHistory.objects.get(ticket=ticket, kind="reopen")
        assert (row.via, row.transition_reason) == ("admin", REASON)

    def test_an_open_ticket_offers_no_reopening(self, enter, admin, ticket):
        page = enter(admin).get(reverse("admin:phases_ticket_change", args=[ticket.pk]))

        assert "Reopen" not in page.content.decode()

    def test_confirms_evidence_of_another(self, enter, admin, ticket, lead):
        artifact, _ = phases.add_artifact(
            actor=lead, ticket_id=ticket.pk, artifact_type="note", content="seen"
        )

        press(enter(admin), artifact, "confirm")

        assert PhaseGateArtifact.objects.get(pk=artifact.pk).verified_by_id == admin.id

    def test_releases_a_lock(self, enter, admin, agent):
        wanted = [{"resource_type": "repo", "resource_id": "mail"}]
        lock = guardian.acquire_locks(actor=agent, task_id=None, wanted=wanted)[0]

        press(enter(admin), lock, "release")

        assert ResourceLock.objects.get(pk=lock.pk).state == "released"
        assert Event.objects.get(kind="guardian.lock.released").reason == REASON

    def test_turns_the_kill_switch_on_and_off(self, enter, admin, team):
        press(enter(admin), team, "stop_new_work")
        assert guardian.kill_switch_is_on(team=team)

        press(enter(admin), GuardianAction.objects.get(), "lift_kill_switch")
        assert not guardian.kill_switch_is_on(team=team)

    def test_revokes_a_token(self, enter, admin):
        token, _ = guardian.create_token(actor=admin, name="ci", scopes=["tickets:read"])

        press(enter(admin), token, "revoke")

        assert ApiToken.objects.get(pk=token.pk).revoked_at is not None

    def test_parks_and_retries_a_delivery(self, enter, admin, ticket):
        relay.stamp()
        delivery = Delivery.objects.filter(state="pending").first()

        press(enter(admin), delivery, "park")
        assert Delivery.objects.get(pk=delivery.pk).state == "parked"

        press(enter(admin), delivery, "retry")
        assert Delivery.objects.get(pk=delivery.pk).state == "pending"

    def test_resolves_an_error_so_that_its_return_opens_a_new_one(self, enter, admin, team):
        row = guardian.log_error(error=RuntimeError("boom"), component="relay", team_id=team.pk)

        press(enter(admin), row, "resolve")
        guardian.log_error(error=RuntimeError("boom"), component="relay", team_id=team.pk)

        assert ErrorLog.objects.filter(resolved_at=None).count() == 1
        assert ErrorLog.objects.count() == 2

    def test_takes_a_tool_out_of_use_and_approves_it_again(self, enter, admin, team):
        tools.seed_team(team=team)
        tool = Tool.objects.get(name="count_lines")

        press(enter(admin), tool, "withdraw")
        assert Tool.objects.get(pk=tool.pk).status == "quarantined"

        press(enter(admin), tool, "approve")
        assert Tool.objects.get(pk=tool.pk).status == "active"
        assert tool.versions.get(status="approved").approver_id == admin.id

    def test_switches_a_tool_off_and_on(self, enter, admin, team):
        tools.seed_team(team=team)
        tool = Tool.objects.get(name="count_lines")

        press(enter(admin), tool, "switch_off")
        assert Tool.objects.get(pk=tool.pk).status == "inactive"

        press(enter(admin), tool, "switch_on")
        assert Tool.objects.get(pk=tool.pk).status == "active"

    def test_a_tool_of_every_team_needs_level_five(self, enter, team):
        tools.seed_team(team=team)
        second = factories.make_actor(team, "bea", role="admin")
        tool = Tool.objects.get(name="count_lines")

        answer = press(enter(second), tool, "withdraw")

        assert "authority level is too low" in shown(answer)[0]
        assert Tool.objects.get(pk=tool.pk).status == "active"

    def test_cancels_a_tool_run(self, enter, admin, team):
        tools.seed_team(team=team)
        run = tools.request_execution(
            tool="count_lines", actor=admin, input={"text": "one"}, queue=False
        )

        press(enter(admin), run, "cancel")

        assert ToolExecution.objects.get(pk=run.pk).status == "cancelled"

    def test_pauses_and_resumes_an_agent(self, enter, admin, team):
        phases.seed_team(team=team)
        orchestrator.seed_agents(team=team)
        agent = AgentInstance.objects.for_team(team.pk).first()

        press(enter(admin), agent, "pause")
        assert AgentInstance.objects.get(pk=agent.pk).state == "paused"

        press(enter(admin), agent, "resume")
        assert AgentInstance.objects.get(pk=agent.pk).state == "idle"

    def test_revokes_a_memory(self, enter, admin, team, agent):
        record = remember(team, agent)

        press(enter(admin), record, "revoke")

        assert MemoryRecord.objects.get(pk=record.pk).state == "revoked"


class TestManyRows:
    def test_a_list_asks_for_one_reason_and_reports_each_row(self, enter, admin, ticket, held):
        other = phases.create_task(actor=admin, ticket=ticket, task_type="x", title="Other")
        url = reverse("admin:phases_task_changelist")
        chosen = {"action": "release", "_selected_action": [held.pk, other.pk]}
        client = enter(admin)

        asked = client.post(url, chosen)
        assert asked.context["button"].label == "Put back in the queue"
        assert Task.objects.get(pk=held.pk).status == "assigned"

        done = client.post(url, {**chosen, "confirmed": "yes", "reason": REASON}, follow=True)
        texts = shown(done)
        assert f"Put back in the queue: {held.title}. Done." in texts
        assert (
            "Other: This task is pending, nobody holds it. Choose what its present state allows."
            in texts
        )
        assert Task.objects.get(pk=held.pk).status == "pending"


class TestRights:
    def test_who_may_not_sees_no_button_and_gets_403(self, enter, team, held):
        author = factories.make_actor(team, "anna", role="author")
        client = enter(author)

        page = client.get(reverse("admin:phases_task_change", args=[held.pk]))
        assert page.status_code == 200
        assert press_url(held, "release") not in page.content.decode()
        assert client.get(press_url(held, "release")).status_code == 403
        assert client.post(press_url(held, "release"), {"reason": REASON}).status_code == 403
        assert Task.objects.get(pk=held.pk).status == "assigned"

    def test_an_unknown_verb_is_refused(self, enter, admin, held):
        assert enter(admin).post(press_url(held, "explode")).status_code == 403

    def test_rows_of_another_team_are_not_there(self, enter, outsider, held):
        client = enter(outsider)

        listed = client.get(reverse("admin:phases_task_changelist"))
        assert list(listed.context["cl"].result_list) == []
        assert client.get(press_url(held, "release")).status_code == 404
        change = reverse("admin:phases_task_change", args=[held.pk])
        assert client.get(change).status_code == 302  # the admin's "does not exist", to its index

    def test_stored_answers_are_for_level_five_alone(self, enter, admin, lead):
        url = reverse("admin:guardian_idempotencykey_changelist")

        assert enter(admin).get(url).status_code == 200
        assert enter(lead).get(url).status_code == 403

    @pytest.mark.parametrize("model", [Event, PhaseHistory], ids=["event", "history"])
    def test_history_is_read_only_also_by_post(self, enter, admin, ticket, model):
        row = model.objects.first()
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        client = enter(admin)

        change = client.post(reverse(f"{name}_change", args=[row.pk]), {"reason": "forged"})
        delete = client.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"})
        add = client.post(reverse(f"{name}_add"), {"kind": "forged"})

        assert (change.status_code, delete.status_code, add.status_code) == (403, 403, 403)
        assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    "name", ["phases_ticket", "phases_task", "guardian_event", "phases_phasehistory"]
)
def test_a_list_asks_the_same_few_questions_for_one_row_and_for_many(
    enter, admin, ticket, name, django_assert_max_num_queries
):
    client, url = enter(admin), reverse(f"admin:{name}_changelist")
    client.get(url)
    with django_assert_max_num_queries(12) as few:
        client.get(url)

    for number in range(12):
        phases.open_ticket(
            actor=admin,
            title=f"More {number}",
            workflow="repo_checkup",
            context={"source": {"kind": "self"}},
        )
    with django_assert_max_num_queries(len(few)):
        client.get(url)


class TestWays:
    def test_lead_from_a_ticket_to_all_that_belongs_to_it_and_back(self, enter, admin, held):
        ticket = Ticket.objects.get(pk=held.ticket_id)
        client = enter(admin)

        page = client.get(reverse("admin:phases_ticket_change", args=[ticket.pk]))
        ways = page.context["ways_down"]
        assert {
            "Tasks", "Phase history", "Phase gate artifacts", "Phase gate results", "Events",
            "Tool executions", "Memory records", "Cost records",
        } <= set(ways)  # fmt: skip
        for url in ways.values():
            assert client.get(url).status_code == 200
        assert [t.pk for t in client.get(ways["Tasks"]).context["cl"].result_list] == [held.pk]
        assert links.ways_up(held)["Ticket"].endswith(f"/ticket/{ticket.pk}/change/")

    def test_lead_from_an_event_to_its_subject(self, ticket):
        event = Event.objects.get(kind="phases.ticket.created")

        assert links.ways_up(event)["Ticket"].endswith(f"/ticket/{ticket.pk}/change/")

    def test_lead_from_a_tool_run_to_the_ticket_it_ran_for(self, enter, admin, team, ticket):
        tools.seed_team(team=team)
        run = tools.request_execution(
            tool="count_lines", actor=admin, input={"text": "one"}, queue=False,
            context={"ticket_id": str(ticket.pk)},
        )  # fmt: skip
        client = enter(admin)

        page = client.get(reverse("admin:tools_toolexecution_change", args=[run.pk]))
        assert page.context["ways_up"]["Ticket"].endswith(f"/ticket/{ticket.pk}/change/")
        ways = links.ways_down(ticket)
        listed = client.get(ways["Tool executions"]).context["cl"].result_list
        assert [row.pk for row in listed] == [run.pk]

    def test_the_history_button_leads_to_the_events(self, enter, admin, ticket):
        url = reverse("admin:phases_ticket_history", args=[ticket.pk])

        assert links.events_of(Ticket, ticket.pk) == enter(admin).get(url)["Location"]


class TestOverview:
    def test_each_number_is_that_of_the_list_it_leads_to(self, enter, admin, ticket, held, agent):
        phases.fail_task(
            actor=agent, task_id=held.pk, fence=held.fence, code="x", message="y", permanent=True
        )
        phases.transition(
            actor=admin, ticket_id=ticket.pk, to_phase="PHASE_BLOCKED", reason="no tests at all"
        )
        guardian.log_error(error=RuntimeError("boom"), component="relay", team_id=admin.team_id)
        client = enter(admin)

        home = client.get(reverse("admin:index"))
        names = ("headline", "waiting", "attention", "running")
        tiles = [tile for name in names for tile in home.context[name]]
        counts = {tile["title"]: tile["count"] for tile in tiles}
        assert counts["Blocked tickets"] == counts["Open errors"] == 1
        assert counts["Stuck tasks"] == counts["Open tickets"] == 1
        for tile in tiles:
            listed = client.get(tile["url"])
            assert listed.status_code == 200, tile
            assert listed.context["cl"].queryset.count() == tile["count"], tile

    def test_takes_at_most_twenty_queries(
        self, enter, admin, ticket, django_assert_max_num_queries
    ):
        client = enter(admin)
        client.get(reverse("admin:index"))

        with django_assert_max_num_queries(20):
            client.get(reverse("admin:index"))

    def test_the_side_bar_holds_every_model(self, admin, rf):
        request = rf.get("/admin/")
        request.user, request.session = admin.user, {}

        entries = [item for group in console.navigation(request) for item in group["items"]]

        pages = {entry["title"] for entry in entries if "/admin/" not in entry["link"]}
        assert pages == {"Waiting for you", "Health", "Board", "API"}
        assert len(entries) == len(django_admin.site._registry) + 1 + len(pages)
