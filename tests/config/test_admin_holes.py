"""The admin's lists and pages give away nothing that they hide, and break on no odd address."""

import pytest
from django.test import Client
from django.urls import reverse

from guardian import services
from guardian.models import ApiToken, User, uuid7
from tests import factories

pytestmark = pytest.mark.django_db
TOKENS, PEOPLE = "/admin/guardian/apitoken/", "/admin/guardian/user/"


@pytest.fixture
def enter():
    def client(actor) -> Client:
        made = Client()
        made.force_login(actor.user)
        return made

    return client


@pytest.fixture
def token(admin) -> ApiToken:
    return services.create_token(actor=admin, name="nightly", scopes=["tickets:read"])[0]


class TestWhatIsHidden:
    @pytest.mark.parametrize("how", ["", "__startswith", "__gte", "__regex"])
    def test_is_not_guessed_by_filtering(self, enter, lead, admin, token, how):
        client = enter(lead)
        password = User.objects.get(pk=admin.id).password

        for path, name, value in (
            (PEOPLE, "password", password),
            (TOKENS, "secret_hash", token.secret_hash),
        ):
            assert client.get(path, {name + how: value}).status_code == 400, path

    def test_what_is_shown_is_filtered_by(self, enter, lead, token):
        listed = enter(lead).get(TOKENS, {"key_id__startswith": token.key_id[:6]})

        assert [row.pk for row in listed.context["cl"].result_list] == [token.pk]

    def test_who_only_looks_on_in_a_team_operates_none_of_it(
        self, enter, team, other_team, outsider
    ):
        both = factories.make_actor(team, "bea", role="operator")
        services.set_membership(user=both.user, team=other_team, role="viewer")
        theirs, _ = services.create_token(actor=outsider, name="theirs", scopes=["tickets:read"])
        client = enter(both)

        listed = client.get(TOKENS).context["cl"].result_list
        page = client.get(reverse("admin:guardian_apitoken_change", args=[theirs.pk]))

        assert theirs.pk not in {row.pk for row in listed}
        assert page.status_code == 302  # the admin's "does not exist", to its index


class TestOddAddresses:
    @pytest.mark.parametrize("key", ["garbage", "1", "_", "9" * 30, "a_00b", "x" * 300])
    @pytest.mark.parametrize("model", ["guardian_apitoken", "guardian_event", "phases_ticket"])
    def test_a_button_of_no_row_is_not_there(self, enter, admin, model, key):
        path = reverse(f"admin:{model}_press", args=[key, "revoke"])

        assert enter(admin).get(path).status_code == 404

    @pytest.mark.parametrize(
        "query", ["key_id=%00", "created_at__year=99999999", "id=garbage", "can_write__exact=2"]
    )
    def test_a_value_that_no_row_has_leads_back_to_the_list(self, enter, admin, query):
        answer = enter(admin).get(f"{TOKENS}?{query}")

        assert answer.status_code == 302
        assert answer["Location"].endswith("?e=1")

    @pytest.mark.parametrize("chosen", [["garbage"], ["\0"], [str(uuid7())]])
    def test_chosen_rows_that_are_gone_change_nothing(self, enter, admin, token, chosen):
        form = {"action": "revoke", "_selected_action": chosen}

        answer = enter(admin).post(TOKENS, form, follow=True)

        assert answer.status_code == 200
        token.refresh_from_db()
        assert token.revoked_at is None

    @pytest.mark.parametrize("slug", ["nowhere", "har\0bour", ""])
    def test_a_team_that_is_none_is_not_chosen(self, enter, lead, slug):
        assert enter(lead).post("/team", {"team": slug}).status_code == 404
