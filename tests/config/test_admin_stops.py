"""A kill switch that is on is seen wherever somebody wonders why nothing starts."""

import pytest
from django.test import Client
from django.urls import reverse

from guardian import links
from guardian import services as guardian
from guardian.errors import KillSwitchOn
from phases import services as phases
from tests import factories

WHY = "it spends too much"
pytestmark = pytest.mark.django_db


def enter(actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


@pytest.fixture
def ticket(team, admin):
    phases.seed_team(team=team)
    return phases.open_ticket(actor=admin, title="Ship", workflow="software_development")


@pytest.fixture
def stop(admin):
    def set_switch(*, everywhere: bool = False) -> None:
        guardian.set_kill_switch(actor=admin, on=True, reason=WHY, everywhere=everywhere)

    return set_switch


def verbs(client, team) -> set[str]:
    page = client.get(links.page_of(team))
    return {press["button"].name for press in page.context["presses"]}


class TestInTheAdmin:
    @pytest.mark.parametrize("everywhere", [False, True])
    @pytest.mark.parametrize(
        "page", ["admin:index", "admin:phases_task_changelist", "operators-health",
                 "operators-waiting", "admin:guardian_team_changelist"],
    )  # fmt: skip
    def test_every_page_says_who_stopped_new_work_and_why(self, admin, stop, page, everywhere):
        client = enter(admin)
        assert "New work is stopped" not in client.get(reverse(page)).content.decode()

        stop(everywhere=everywhere)

        text = client.get(reverse(page)).content.decode()
        where = "in every team" if everywhere else "in Harbour"
        assert f"New work is stopped {where}.".lower() in text.lower()
        assert WHY in text
        assert "ada" in text

    def test_another_team_is_not_told_of_it(self, outsider, stop):
        stop()

        assert WHY not in enter(outsider).get(reverse("admin:index")).content.decode()

    def test_only_whoever_may_is_led_to_the_button(self, team, admin, stop):
        author = factories.make_actor(team, "aud", role="author")
        stop()

        assert "Allow new work again" in enter(admin).get(reverse("admin:index")).content.decode()
        assert "Allow new work" not in enter(author).get(reverse("admin:index")).content.decode()

    def test_the_team_shows_its_state_and_offers_the_opposite_alone(self, team, admin, stop):
        client = enter(admin)
        assert "stop_new_work" in verbs(client, team)
        assert "allow_new_work" not in verbs(client, team)

        stop()

        assert "stop_new_work" not in verbs(client, team)
        assert "allow_new_work" in verbs(client, team)
        told = client.get(links.page_of(team)).context["tables"][0].rows[0]
        assert [cell.text for cell in told[:3]] == ["stopped", "this team", "ada"]
        assert told[-1].text == WHY

    @pytest.mark.parametrize("everywhere", [False, True])
    def test_the_team_s_button_turns_off_what_is_on(self, team, admin, stop, everywhere):
        stop(everywhere=everywhere)
        client = enter(admin)
        url = reverse("admin:guardian_team_press", args=[team.pk, "allow_new_work"])

        client.post(url, {"reason": "paid", "seen": client.get(url).context["seen"]})

        assert not guardian.kill_switch_is_on(team=team)

    def test_health_and_its_tile_name_it(self, admin, stop):
        client = enter(admin)
        stop()

        [part] = [
            part
            for part in client.get(reverse("operators-health")).context["parts"]
            if part["name"] == "New work"
        ]
        tiles = client.get(reverse("admin:index")).context["headlines"]

        assert not part["ok"]
        assert WHY in part["note"]
        assert "New work" in next(t for t in tiles if t["title"] == "Health")["said"]


class TestOnTheBoard:
    def test_the_page_the_snapshot_and_the_panel_say_so(self, admin, api, ticket, stop):
        client = enter(admin)
        board = "/board/software_development"
        asked = "/api/v1/board?workflow=software_development"
        assert api(admin).get(asked).json()["stopped"] is None

        stop()

        page = client.get(board).content.decode()
        assert 'id="stopped" role="alert">' in page
        assert f"ada: {WHY}" in page
        assert "Allow it again" in page
        told = api(admin).get(asked).json()["stopped"]
        assert (told["by"], told["reason"], told["everywhere"]) == ("ada", WHY, False)
        panel = client.get(f"{board}/tickets/{ticket.number}?fragment=1").content.decode()
        assert f"New work is stopped in this team by ada: {WHY}" in panel

    def test_a_switch_for_all_teams_is_told_to_each(self, outsider, other_team, stop):
        phases.seed_team(team=other_team)

        stop(everywhere=True)

        page = enter(outsider).get("/board/software_development").content.decode()
        assert "New work is stopped in every team." in page
        assert WHY in page


def test_the_refusal_says_where_it_is_allowed_again():
    assert "team's page" in KillSwitchOn.remedy
