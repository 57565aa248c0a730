"""Credentials of programs: made once, checked each time, gone when revoked."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from guardian import services
from guardian.errors import (
    AddressNotAllowed,
    AuthorityTooLow,
    ScopeMissing,
    TokenExpired,
    TokenRevoked,
    Unauthorized,
)
from guardian.models import ApiToken, Event, ResourceLock


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

    def test_the_bootstrap_token_outlives_its_pepper_but_overwrites_no_other(self, admin, settings):
        text = "any text of enough length"
        services.ensure_bootstrap_token(text=text, team=admin.team, user=admin.user)
        token, other = services.create_token(actor=admin, name="x", scopes=["tickets:read"])
        settings.TOKEN_PEPPERS = {"t9": b"9" * 32}

        services.ensure_bootstrap_token(text=text, team=admin.team, user=admin.user)
        services.ensure_bootstrap_token(
            text=f"lem_{token.key_id}.guessed", team=admin.team, user=admin.user
        )

        assert services.authenticate_token(text, address="").role == "admin"
        for unknown in (other, f"lem_{token.key_id}.guessed"):
            with pytest.raises(Unauthorized):
                services.authenticate_token(unknown, address="")

    def test_peppers_rotate_the_newest_signs_older_ones_verify(self, lead, settings):
        older = dict(settings.TOKEN_PEPPERS)
        _, before = services.create_token(actor=lead, name="a", scopes=["tickets:read"])
        settings.TOKEN_PEPPERS = {"t2": b"2" * 32, **older}
        token, after = services.create_token(actor=lead, name="b", scopes=["tickets:read"])

        assert token.pepper_id == "t2"
        for text in (before, after):
            assert services.authenticate_token(text, address="").id == lead.id
        settings.TOKEN_PEPPERS = {"t2": b"2" * 32}
        with pytest.raises(Unauthorized):
            services.authenticate_token(before, address="")


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

    @pytest.mark.parametrize("by", ["username", "id"])
    def test_is_made_for_an_agent_by_its_name_or_id(self, api, admin, agent, by):
        user = agent.user.username if by == "username" else str(agent.id)
        body = {"name": "x", "scopes": ["tickets:read"], "user": user}

        made = api(admin).post("/api/v1/tokens", body, format="json")
        nobody = api(admin).post("/api/v1/tokens", {**body, "user": "nobody"}, format="json")

        assert services.authenticate_token(made.json()["token"], address="").id == agent.id
        assert nobody.status_code == 404

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


@pytest.fixture
def made_by(api, lead):
    """What a token with these limits gets when it asks for another one: (answer, its token)."""

    def ask(body, *, actor=lead, **limits):
        maker, text = services.create_token(
            actor=actor, name="maker", **{"scopes": ["tickets:read", "tokens:self"], **limits}
        )
        client = api()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        answer = client.post(
            "/api/v1/tokens", {"name": "child", "scopes": ["tickets:read"], **body}, format="json"
        )
        child = ApiToken.objects.filter(pk=answer.json().get("id")).first()
        return answer, child, maker

    return ask


class TestTokenThatOnlyReads:
    @pytest.fixture
    def reader(self, lead):
        _, text = services.create_token(
            actor=lead,
            name="reader",
            scopes=["memory:read", "locks:read", "locks:acquire"],
            can_write=False,
        )
        return Client(headers={"Authorization": f"Bearer {text}"})

    def test_asks_by_post_too(self, reader):
        wish = {"query": "ships", "mode": "keyword"}
        lock = {"resource_type": "repo", "resource_id": "main", "fence": 1}

        asked = reader.post("/api/v1/memory/search", wish, content_type="application/json")
        verified = reader.post("/api/v1/locks/verify", lock, content_type="application/json")

        assert asked.status_code == 200
        assert (verified.status_code, verified.json()["code"]) == (409, "lease_lost")

    def test_changes_nothing(self, reader):
        lock = {"resource_type": "repo", "resource_id": "main"}

        answer = reader.post("/api/v1/locks/acquire", lock, content_type="application/json")

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert not ResourceLock.objects.exists()


class TestTokenMadeByToken:
    def test_keeps_the_makers_cap_however_much_it_asks_for(self, made_by):
        _, silent, _ = made_by({}, authority_cap=1)
        _, greedy, _ = made_by({"authority_cap": 4}, authority_cap=2)
        _, modest, _ = made_by({"authority_cap": 1}, authority_cap=3)

        assert (silent.authority_cap, greedy.authority_cap, modest.authority_cap) == (1, 2, 1)

    def test_keeps_the_makers_addresses_or_fewer(self, made_by):
        nets = ["127.0.0.0/8"]
        _, silent, _ = made_by({}, allowed_ips=nets)
        _, fewer, _ = made_by({"allowed_ips": ["127.0.0.1/32"]}, allowed_ips=nets)
        more, none, _ = made_by({"allowed_ips": ["0.0.0.0/0"]}, allowed_ips=nets)

        assert (silent.allowed_ips, fewer.allowed_ips) == (nets, ["127.0.0.1/32"])
        assert (more.status_code, none) == (400, None)
        assert more.json()["errors"][0]["path"] == "allowed_ips"

    def test_ends_no_later_than_its_maker(self, made_by):
        soon = timezone.now() + timedelta(hours=1)
        _, silent, maker = made_by({}, expires_at=soon)
        later, none, _ = made_by(
            {"expires_at": (soon + timedelta(days=1)).isoformat()}, expires_at=soon
        )

        assert silent.expires_at == maker.expires_at
        assert (later.status_code, none) == (400, None)
        assert later.json()["errors"][0]["path"] == "expires_at"

    def test_cannot_come_from_one_that_only_reads(self, made_by):
        answer, none, _ = made_by({}, can_write=False)

        assert (answer.status_code, none) == (403, None)

    def test_has_no_scope_its_maker_lacks(self, made_by):
        answer, none, _ = made_by({"scopes": ["tickets:write"]})

        assert (answer.status_code, answer.json()["code"], none) == (403, "scope_missing", None)


class TestTokenOfAgent:
    def test_an_agent_makes_none(self, api, agent):
        answer = api(agent).post(
            "/api/v1/tokens", {"name": "x", "scopes": ["tickets:read"]}, format="json"
        )

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert answer.json()["remedy"]["text"]

    def test_an_agent_ends_only_the_one_it_uses(self, api, agent):
        first, second = api(agent), api(agent)
        other = ApiToken.objects.filter(user=agent.user).order_by("created_at").last()

        refused = first.post(
            f"/api/v1/tokens/{other.pk}/revoke", {"reason": "not mine"}, format="json"
        )
        ended = second.post(
            f"/api/v1/tokens/{other.pk}/revoke", {"reason": "leaked"}, format="json"
        )

        assert (refused.status_code, ended.status_code) == (403, 200)

    def test_an_admin_makes_one_for_an_agent_of_the_team(self, api, admin, agent):
        answer = api(admin).post(
            "/api/v1/tokens",
            {"name": "x", "scopes": ["tasks:work"], "user": str(agent.id)},
            format="json",
        )

        assert answer.status_code == 201
        actor = services.authenticate_token(answer.json()["token"], address="")
        assert (actor.id, actor.scopes) == (agent.id, frozenset({"tasks:work"}))

    def test_is_not_made_by_others_for_people_or_for_strangers(
        self, api, admin, lead, agent, outsider
    ):
        def ask(actor, user):
            body = {"name": "x", "scopes": ["tickets:read"], "user": str(user.id)}
            return api(actor).post("/api/v1/tokens", body, format="json").json()["code"]

        assert ask(lead, agent) == "scope_missing"
        assert ask(admin, lead) == "forbidden"
        assert ask(admin, outsider) == "not_found"

    def test_needs_the_agents_level(self, agent, admin):
        services.set_membership(user=agent.user, team=agent.team, role="agent", authority=3)
        low = replace(admin, authority=2)

        with pytest.raises(AuthorityTooLow):
            services.create_token(actor=low, user=agent.user, name="x", scopes=["tickets:read"])
