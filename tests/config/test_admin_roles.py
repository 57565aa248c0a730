"""Every model and every button of the admin against every role: who sees, and what changes."""

from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from guardian import links
from guardian.authority import actor_for
from guardian.models import CostRecord, Event
from orchestrator.models import AgentExecution
from tests.config.admin_world import MODELS, first_rows, make_full_world
from tests.factories import make_actor, make_team
from tools.models import ToolExecution

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
# Who enters at all, and who is led to the login.
INSIDE = ("operator", "author", "admin", "foreign")
OUTSIDE = ("anonymous", "viewer", "agent")
REASON = "because the loop asks"


@pytest.fixture(scope="module")
def full(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_full_world()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def actors(full):
    foreign = make_actor(make_team("island"), "olaf", role="admin", authority=5)
    return {**full.people, "foreign": foreign}


@pytest.fixture(scope="module")
def clients(actors):
    made = {"anonymous": Client()}
    for role in (*OUTSIDE[1:], *INSIDE):
        made[role] = Client()
        made[role].force_login(actors[role].user)
    return made


@pytest.fixture(scope="module")
def rows(full):
    return first_rows(full.team)


def name_of(model, page: str) -> str:
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"


def stored(row) -> dict[str, Any]:
    return type(row)._base_manager.filter(pk=row.pk).values().get()


def its(model):
    from django.contrib import admin

    return admin.site._registry[model]


def is_shared(model, row) -> bool:
    """Rows of the whole installation, and of no team."""
    return its(model).team_path is None or its(model).team_of(row) is None


def may_see(model, role, actors) -> bool:
    return actors[role].authority >= its(model).view_level


class TestPages:
    @pytest.mark.parametrize("role", OUTSIDE)
    def test_who_has_no_business_here_is_led_to_the_login(self, clients, rows, role):
        for model, row in rows.items():
            urls = [links.list_of(model), links.page_of(row)]
            urls += [
                reverse(name_of(model, "add")),
                reverse(name_of(model, "delete"), args=[row.pk]),
            ]
            for url in urls:
                assert clients[role].get(url)["Location"].startswith("/admin/login/"), url
                assert clients[role].post(url, {"reason": REASON})["Location"], url

    @pytest.mark.parametrize("role", INSIDE[:-1])
    def test_lists_are_for_whoever_has_the_level(self, clients, actors, role):
        for model in MODELS:
            wanted = 200 if may_see(model, role, actors) else 403
            assert clients[role].get(links.list_of(model)).status_code == wanted, model

    @pytest.mark.parametrize("role", INSIDE)
    def test_nobody_adds_changes_or_deletes_by_a_form(self, clients, rows, role):
        for model, row in rows.items():
            before = stored(row)
            client = clients[role]
            answers = [
                client.get(reverse(name_of(model, "add"))),
                client.post(reverse(name_of(model, "add")), {"reason": REASON}),
                client.post(links.page_of(row), {"reason": REASON}),
                client.post(reverse(name_of(model, "delete"), args=[row.pk]), {"post": "yes"}),
            ]
            # Rows of others do not exist: the admin leads back to its index.
            assert {a.status_code for a in answers} <= {403, 302}, model
            assert answers[1].status_code == 403, model
            # Where a button makes such rows, whoever may press it is led there.
            led = answers[0].status_code == 302 and "/make/" in answers[0]["Location"]
            assert led or answers[0].status_code == 403, model
            assert stored(row) == before, model

    def test_what_is_written_down_has_no_button_that_changes_it(self):
        for written in (Event, CostRecord):
            assert list(its(written).buttons()) == [], written
        for run in (AgentExecution, ToolExecution):
            assert set(its(run).buttons()) <= {"cancel"}, run

    def test_rows_of_another_team_are_not_there(self, clients, rows):
        for model, row in rows.items():
            if is_shared(model, row):
                continue
            answer = clients["foreign"].get(links.page_of(row))
            assert (answer.status_code, answer["Location"]) == (302, "/admin/"), model
            for verb in its(model).buttons():
                url = reverse(name_of(model, "press"), args=[row.pk, verb])
                assert clients["foreign"].get(url).status_code in {403, 404}, url


def buttons():
    found = []
    for model in MODELS:
        found += [(model, button) for button in its(model).buttons().values()]
    return found


class TestButtons:
    def test_without_a_reason_or_a_confirmation_nothing_changes(self, clients, rows):
        client = clients["admin"]
        events = Event.objects.count()
        for model, button in buttons():
            row = rows[model]
            if button.on_list:
                client.post(reverse(name_of(model, "make"), args=[button.name]), {})
                continue
            before = stored(row)
            url = reverse(name_of(model, "press"), args=[row.pk, button.name])
            asked = client.get(url)
            if asked.status_code == 403:
                continue  # a team of which the admin is not
            assert asked.status_code == 200, url
            client.post(url, {"reason": REASON})
            if button.asks_reason:
                for reason in ("", "  ", "no"):
                    client.post(url, {"reason": reason, "seen": asked.context["seen"]})
            if button.bulk:
                chosen = {"action": button.name, "_selected_action": [str(row.pk)]}
                client.post(links.list_of(model), chosen | {"reason": REASON})
                if button.asks_reason:
                    client.post(links.list_of(model), chosen | {"confirmed": "yes", "reason": ""})
            assert stored(row) == before, url
        assert Event.objects.count() == events

    @pytest.mark.parametrize("role", ["operator", "author", *OUTSIDE])
    def test_who_may_not_changes_nothing(self, clients, actors, rows, role):
        for model, button in buttons():
            row = rows[model]
            if role in INSIDE and button.allowed_to(actor_for(actors[role].user)):
                continue
            page, args = (
                ("make", [button.name]) if button.on_list else ("press", [row.pk, button.name])
            )
            before = stored(row)
            url = reverse(name_of(model, page), args=args)
            answers = {
                clients[role].get(url).status_code,
                clients[role].post(url, {"reason": REASON}).status_code,
            }
            assert answers == ({403} if role in INSIDE else {302}), url
            assert stored(row) == before, url

    def test_each_explains_itself_and_names_its_right(self):
        for model, button in buttons():
            assert len(button.explanation) > 20, (model, button.name)
            assert ":" in button.scope, (model, button.name)
            assert button.asks_reason or not button.danger, button.name
