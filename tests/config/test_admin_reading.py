"""What operators read and find in the admin: searches, titles, what does not arrive."""

import re
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from guardian import events, links, outbox, relay
from guardian import services as guardian
from guardian.models import Event, GuardianAction, Team, Webhook, WebhookDelivery
from phases import services as phases
from phases.models import Task, Ticket
from tests import factories

pytestmark = pytest.mark.django_db


def enter(actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


@pytest.fixture
def client(admin):
    return enter(admin)


@pytest.fixture
def tickets(team, admin) -> list[Ticket]:
    phases.seed_team(team=team)
    return [
        phases.open_ticket(actor=admin, title=f"Ship {n}", workflow="software_development")
        for n in range(12)
    ]


def found(client, model, text):
    listed = client.get(links.list_of(model), {"q": text}).context["cl"].result_list
    return {row.pk for row in listed}


class TestSearching:
    @pytest.mark.parametrize("text", ["LEM-2", "lem-2", " LEM-2 "])
    def test_a_ticket_by_its_label_is_that_one_alone(self, client, tickets, text):
        assert found(client, Ticket, text) == {tickets[1].pk}

    def test_a_task_by_its_error(self, client, tickets):
        task = Task.objects.get(ticket=tickets[0])
        Task.objects.filter(pk=task.pk).update(error_message="The harbour froze over.")

        assert found(client, Task, "froze") == {task.pk}

    def test_an_event_by_its_reason(self, client, admin, tickets):
        phases.cancel_ticket(actor=admin, ticket_id=tickets[0].pk, reason="tests failed twice")

        assert found(client, Event, "failed")


class TestLists:
    def test_are_called_by_what_they_show(self, client):
        page = client.get(links.list_of(Team))

        assert page.context["cl"].title == "Teams"
        assert "to view" not in page.content.decode()

    def test_offer_to_show_all_only_where_they_do_not(self, client, tickets):
        assert "Show all" not in client.get(links.list_of(Ticket)).content.decode()
        found = client.get(links.list_of(Ticket), {"q": "LEM-2"}).content.decode()
        assert "Show all" in found


class TestDeliveries:
    @pytest.fixture
    def failing(self, admin) -> WebhookDelivery:
        hook, _ = guardian.create_webhook(
            actor=admin, name="Chat", url="https://example.org/in", kinds=["*"]
        )
        with transaction.atomic():
            outbox.emit(events.LOCK_RELEASED, actor=admin)
        relay.run_once()
        letter = guardian.take_up_delivery(webhook_id=hook.pk)
        guardian.settle_delivery(letter=letter, outcome=guardian.Outcome(500, 1.0, "HTTP 500"))
        return WebhookDelivery.objects.get(pk=letter.delivery_id)

    def test_that_do_not_arrive_show_on_their_webhook_and_on_the_first_page(self, client, failing):
        listed = client.get(links.list_of(Webhook))
        tiles = client.get(reverse("admin:index")).context["attention"]

        [hook] = listed.context["cl"].result_list
        assert hook.failing >= 1
        tile = next(t for t in tiles if t["title"] == "Webhook deliveries that do not arrive")
        assert tile["count"] == hook.failing
        rows = client.get(tile["url"]).context["cl"].queryset
        assert failing in rows

    def test_are_called_by_their_event_and_webhook(self, failing):
        assert str(failing).startswith(f"{failing.event.kind} to Chat")

    def test_have_a_next_time_only_while_they_wait(self, client, failing):
        WebhookDelivery.objects.filter(pk=failing.pk).update(
            state="done", next_at=timezone.now() + timedelta(days=3000)
        )
        due = WebhookDelivery.objects.get(pk=failing.pk).next_at

        assert str(due.year) not in client.get(links.page_of(failing)).content.decode()


def test_an_order_is_called_in_words(admin):
    guardian.set_kill_switch(actor=admin, on=True, reason="it burns")

    assert str(GuardianAction.objects.get()).startswith("kill switch executed")


def test_a_row_s_page_is_titled_as_it_is_called_without_its_id(client, admin):
    guardian.set_kill_switch(actor=admin, on=True, reason="it burns")
    order = GuardianAction.objects.get()

    page = client.get(links.page_of(order)).content.decode()

    header = page[: page.index('id="content"')]
    assert re.search(r">\s*kill switch executed\s*</a>", header)
    assert f"executed ({order.pk})</a>" not in header


def test_a_team_s_many_lists_stand_folded(client, team):
    page = client.get(links.page_of(team)).content.decode()

    assert "lists of what belongs to it</summary>" in page


class TestCancelling:
    def test_is_offered_to_whoever_may(self, team, admin, lead, tickets):
        author = factories.make_actor(team, "aud", role="author")
        page = links.page_of(tickets[0])
        url = reverse("admin:phases_ticket_press", args=[tickets[0].pk, "cancel"])

        for actor, offered in ((author, False), (lead, True)):
            presses = enter(actor).get(page).context["presses"]
            assert ("Cancel" in {p["button"].label for p in presses}) is offered, actor
        assert enter(author).get(url).status_code == 403

    def test_is_told_on_the_ticket_by_whom_and_why(self, client, admin, tickets):
        phases.cancel_ticket(actor=admin, ticket_id=tickets[0].pk, reason="nobody needs it")

        panel = client.get("/board/software_development/tickets/1?fragment=1").content.decode()

        assert "ada called it off: nobody needs it." in panel


class TestTheDoor:
    @pytest.mark.parametrize("page", ["/admin/", "/operators/waiting", "/admin/phases/ticket/"])
    def test_tells_a_viewer_that_the_role_is_not_enough(self, viewer, page):
        answer = enter(viewer).get(page, follow=True, headers={"Accept": "text/html"})

        assert answer.status_code == 403
        assert "Not for you" in answer.content.decode()
        assert 'name="password"' not in answer.content.decode()

    def test_still_asks_a_stranger_to_log_in(self, db):
        answer = Client().get("/admin/", follow=True)

        assert 'name="password"' in answer.content.decode()
