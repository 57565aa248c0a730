"""Credentials of programs: made once, checked each time, gone when revoked."""

from datetime import timedelta

import pytest
from django.utils import timezone

from guardian import services
from guardian.errors import (
    AddressNotAllowed,
    ScopeMissing,
    TokenExpired,
    TokenRevoked,
    Unauthorized,
)
from guardian.models import ApiToken, Event


class TestTokens:
    def test_authenticates_its_user_in_its_team_with_its_scopes(self, lead):
        _, text = services.create_token(actor=lead, name="ci", scopes=["tickets:read"])

        actor = services.authenticate_token(text, address="127.0.0.1")

        assert (actor.user, actor.team) == (lead.user, lead.team)
        assert actor.scopes == {"tickets:read"}

    def test_stores_no_secret(self, lead):
        token, text = services.create_token(actor=lead, name="ci", scopes=["tickets:read"])

        secret = text.split(".")[1]
        assert secret not in str(vars(token))
        assert secret not in str(Event.objects.values_list("data", flat=True))

    def test_refuses_scopes_beyond_the_makers(self, viewer):
        with pytest.raises(ScopeMissing):
            services.create_token(actor=viewer, name="ci", scopes=["tickets:write"])

    def test_is_refused_once_revoked(self, lead):
        token, text = services.create_token(actor=lead, name="ci", scopes=["tickets:read"])

        services.revoke_token(actor=lead, token_id=token.pk, reason="leaked")

        with pytest.raises(TokenRevoked):
            services.authenticate_token(text, address="127.0.0.1")

    def test_is_refused_once_expired(self, lead):
        token, text = services.create_token(actor=lead, name="ci", scopes=["tickets:read"])
        ApiToken.objects.filter(pk=token.pk).update(
            expires_at=timezone.now() - timedelta(seconds=1)
        )

        with pytest.raises(TokenExpired):
            services.authenticate_token(text, address="127.0.0.1")

    def test_is_refused_from_another_address(self, lead):
        _, text = services.create_token(
            actor=lead, name="ci", scopes=["tickets:read"], allowed_ips=["10.0.0.0/8"]
        )

        assert services.authenticate_token(text, address="10.1.2.3").id == lead.id
        with pytest.raises(AddressNotAllowed):
            services.authenticate_token(text, address="192.0.2.1")

    def test_is_refused_with_another_secret(self, lead):
        _, text = services.create_token(actor=lead, name="ci", scopes=["tickets:read"])

        with pytest.raises(Unauthorized):
            services.authenticate_token(text[:-1] + ("A" if text[-1] != "A" else "B"), address="")

    def test_authority_cap_only_lowers(self, lead):
        _, low = services.create_token(
            actor=lead, name="a", scopes=["tickets:read"], authority_cap=2
        )
        _, high = services.create_token(
            actor=lead, name="b", scopes=["tickets:read"], authority_cap=5
        )

        assert services.authenticate_token(low, address="").authority == 2
        assert services.authenticate_token(high, address="").authority == 4

    def test_bootstrap_token_of_any_form_works_and_stays_revoked(self, admin):
        text = "any text of enough length"
        token = services.ensure_bootstrap_token(text=text, team=admin.team, user=admin.user)

        assert services.authenticate_token(text, address="").role == "admin"

        services.revoke_token(actor=admin, token_id=token.pk, reason="rotated")
        services.ensure_bootstrap_token(text=text, team=admin.team, user=admin.user)
        with pytest.raises(TokenRevoked):
            services.authenticate_token(text, address="")


class TestTokenApi:
    def test_shows_the_token_once(self, api, lead):
        client = api(lead)

        made = client.post(
            "/api/v1/tokens", {"name": "x", "scopes": ["tickets:read"]}, format="json"
        )

        assert made.status_code == 201
        assert made.json()["token"].startswith("lem_")
        shown = client.get(f"/api/v1/tokens/{made.json()['id']}")
        assert "token" not in shown.json()

    def test_names_an_unknown_field(self, api, lead):
        answer = api(lead).post(
            "/api/v1/tokens", {"name": "x", "scopes": ["tickets:read"], "extra": 1}, format="json"
        )

        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "unknown_field"
        assert answer.json()["errors"][0]["path"] == "extra"

    def test_anonymous_is_401_and_a_foreign_id_404(self, api, lead, outsider):
        token, _ = services.create_token(actor=outsider, name="x", scopes=["tickets:read"])

        assert api().get("/api/v1/tokens").status_code == 401
        assert api(lead).get(f"/api/v1/tokens/{token.pk}").status_code == 404
        answer = api(lead).post(
            f"/api/v1/tokens/{token.pk}/revoke", {"reason": "mine now"}, format="json"
        )
        assert answer.status_code == 404

    def test_says_who_i_am(self, api, agent):
        body = api(agent).get("/api/v1/tokens/self").json()

        assert (body["kind"], body["role"], body["authority"]) == ("agent", "agent", 1)
