"""A person of two teams works in the one they chose; nobody works in one they do not belong to."""

import pytest

from guardian.services import set_membership
from phases import services


@pytest.fixture
def of_both(lead, team, other_team):
    services.seed_team(team=team)
    services.seed_team(team=other_team)
    set_membership(user=lead.user, team=other_team, role="viewer")
    services.open_ticket(actor=lead, title="Of the harbour")
    return lead


def titles(client) -> list[str]:
    return [row["title"] for row in client.get("/api/v1/tickets").json()["results"]]


@pytest.mark.django_db
class TestChoosingATeam:
    def test_goes_on_there_in_board_and_api_until_another_is_chosen(self, client, of_both):
        client.force_login(of_both.user)
        assert titles(client) == ["Of the harbour"]
        assert "Go to team Island" in client.get("/board/default").content.decode()

        moved = client.post("/team", {"team": "island"})

        assert moved["Location"] == "/board"
        assert titles(client) == []
        assert "viewer in Island" in client.get("/board/default").content.decode()
        assert client.post("/api/v1/tickets", "{}", "application/json").status_code == 403
        client.post("/team", {"team": "harbour"})
        assert titles(client) == ["Of the harbour"]

    def test_a_team_one_does_not_belong_to_is_not_there(self, client, viewer, other_team):
        client.force_login(viewer.user)

        assert client.post("/team", {"team": "island"}).status_code == 404
        assert client.post("/team", {"team": ""}).status_code == 404
        assert client.get("/team").status_code == 405
        assert "team_id" not in client.session

    def test_leaving_a_chosen_team_ends_the_choice(self, client, of_both, other_team):
        client.force_login(of_both.user)
        client.post("/team", {"team": "island"})
        of_both.user.memberships.get(team=other_team).delete()

        assert titles(client) == ["Of the harbour"]
