"""Refusals name what would have been right, so that the next try can succeed."""

import pytest
from django.utils import timezone

from guardian import cron, services
from guardian.authority import ROLE_SCOPES
from guardian.errors import EgressRefused, IllegalTransition, Invalid, LeaseLost
from guardian.models import ApiToken, Event
from guardian.targets import check_url

URL = "https://hooks.example.com/"


def webhook(actor, kind):
    return services.create_webhook(actor=actor, name="ci", url=URL, kinds=[kind])


@pytest.mark.django_db
class TestKindsOfWebhooks:
    @pytest.mark.parametrize(
        "kind", ["*", "ticket.created", "phases.ticket.created", "phases.*", "ticket.*",
                 "build.done", "harbour.*", "resource.acquired", "guardian.budget.exceeded"],
    )  # fmt: skip
    def test_takes_our_own_and_the_free_ones(self, admin, kind):
        assert webhook(admin, kind)

    @pytest.mark.parametrize(
        ("kind", "nearest"),
        [
            ("tickt.created", "ticket.created"),
            ("tickt.*", "ticket.*"),
            ("phases.ticket.creatd", "phases.ticket.created"),
            ("guardian.lok.*", "guardian.lock.*"),
        ],
    )
    def test_names_the_nearest_of_a_slip_of_the_pen(self, admin, kind, nearest):
        with pytest.raises(Invalid) as refusal:
            webhook(admin, kind)

        assert nearest in refusal.value.detail

    @pytest.mark.parametrize("kind", ["phases.nothing.at.all", "guardian.zzz", "alone", "a.b.c.d"])
    def test_refuses_what_can_never_come(self, admin, kind):
        with pytest.raises(Invalid):
            webhook(admin, kind)

    def test_what_was_published_is_no_slip_of_the_pen(self, admin):
        Event.objects.create(team=admin.team, kind="tickt.created", created_at=timezone.now())

        assert webhook(admin, "tickt.created")

    def test_a_disabled_one_says_how_it_is_enabled(self, admin):
        made, _ = services.create_webhook(
            actor=admin, name="ci", url=URL, kinds=["*"], enabled=False
        )

        with pytest.raises(IllegalTransition) as refusal:
            services.send_test_event(actor=admin, webhook_id=made.pk)

        assert '"enabled": true' in refusal.value.remedy_text


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "needed"),
        [
            ("http://127.0.0.1:8199/", ["LEMNOS_WEBHOOK_HTTP=1", "ALLOW=127.0.0.1:8199"]),
            ("http://localhost:8199/", ["LEMNOS_WEBHOOK_HTTP=1", "127.0.0.1:8199,[::1]:8199"]),
            ("https://[::1]:8199/", ["ALLOW=[::1]:8199"]),
            ("https://10.1.2.3/", ["ALLOW=10.1.2.3 "]),
            ("https://inside.example.com:8443/", ["ALLOW=<its address>:8443"]),
        ],
    )
    def test_all_that_is_missing_is_said_at_once(self, url, needed):
        with pytest.raises(EgressRefused) as refusal:
            check_url(url)

        for words in needed:
            assert words in refusal.value.remedy_text

    def test_an_address_without_its_port_is_still_told_the_exact_form(self, settings):
        settings.EGRESS_ALLOW, settings.WEBHOOK_HTTP = ["127.0.0.1"], True

        with pytest.raises(EgressRefused) as refusal:
            check_url("http://127.0.0.1:8199/")

        assert "LEMNOS_EGRESS_ALLOW=127.0.0.1:8199" in refusal.value.remedy_text
        assert "WEBHOOK_HTTP" not in refusal.value.remedy_text
        settings.EGRESS_ALLOW = ["127.0.0.1:8199"]
        assert check_url("http://127.0.0.1:8199/")


class TestCron:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("99 3 * * *", "'99' is no minute: 0 to 59"),
            ("0 24 * * *", "'24' is no hour: 0 to 23"),
            ("0 0 * 13 *", "'13' is no month"),
            ("0 0 * *", "five fields"),
        ],
    )
    def test_the_field_that_is_wrong_is_named(self, line, words):
        with pytest.raises(Invalid, match="cron") as refusal:
            cron.check(line, "UTC")

        assert words in refusal.value.detail


@pytest.mark.django_db
class TestCredentials:
    def test_an_unknown_token_is_not_asked_for_again(self, api):
        client = api()
        client.credentials(HTTP_AUTHORIZATION="Bearer lem_000000000000.nonsense")

        body = client.get("/api/v1/tickets").json()

        assert "Authorization" not in body["remedy"]["text"]
        assert "new one" in body["remedy"]["text"]

    def test_a_token_from_elsewhere_hears_of_the_address(self, api, admin):
        client = api(admin)
        ApiToken.objects.update(allowed_ips=["10.9.9.9/32"])

        body = client.get("/api/v1/tickets").json()

        assert (body["code"], "address" in body["remedy"]["text"]) == ("ip_not_allowed", True)

    def test_an_unknown_scope_is_answered_with_the_known(self, admin):
        with pytest.raises(Invalid) as refusal:
            services.create_token(actor=admin, name="x", scopes=["ticket:read"])

        assert "tickets:read" in refusal.value.detail

    def test_an_agents_token_gets_no_scope_that_agents_never_have(self, admin, agent):
        with pytest.raises(Invalid) as refusal:
            services.create_token(
                actor=admin, user=agent.user, name="x",
                scopes=["tickets:read", "team:admin", "webhooks:write"],
            )  # fmt: skip

        assert "never has team:admin, webhooks:write" in refusal.value.detail
        assert services.create_token(
            actor=admin, user=agent.user, name="x",
            scopes=sorted(ROLE_SCOPES["agent"] & admin.scopes),
        )  # fmt: skip


@pytest.mark.django_db
class TestLocks:
    def test_the_holder_with_another_fence_hears_its_own(self, admin):
        lock = services.acquire_lock(actor=admin, resource_type="dock", resource_id="1")

        with pytest.raises(LeaseLost) as refusal:
            services.renew_lock(actor=admin, lock_id=lock.lock_id, fence=lock.fence + 7)

        assert refusal.value.detail == (
            f"You hold this lock at fence {lock.fence}; this call brought another."
        )

    def test_what_a_resource_type_may_be_made_of_is_said(self, api, admin):
        body = {"resource_type": "a b", "resource_id": "1"}

        answer = api(admin).post("/api/v1/locks/acquire", body, format="json").json()

        assert "A-Z, a-z, 0-9" in answer["detail"]

    def test_release_all_names_the_keys_it_takes(self, api, admin):
        answer = api(admin).post("/api/v1/locks/release-all", {"reason": "tidy up"}, format="json")

        for key in ("task_id", "instance_id", "holder_id"):
            assert key in answer.json()["detail"]

    def test_a_choice_lists_its_values(self, api, admin):
        body = {"resource_type": "dock", "resource_id": "1", "priority": "urgent"}

        answer = api(admin).post("/api/v1/locks/acquire", body, format="json").json()

        assert "critical, high, normal, low" in answer["detail"]


@pytest.mark.django_db
class TestBodies:
    @pytest.mark.parametrize(
        ("address", "body", "said"),
        [
            ("/api/v1/costs/budgets", {"scope_type": "team", "limit_usd": "5"}, "mean limit?"),
            ("/api/v1/tickets", {"titel": "x"}, "mean title?"),
            ("/api/v1/tickets", {"zzz": 1}, "Known: assignee, context, deadline"),
            ("/api/v1/tickets", {"title": "x", "priority": "urgent"}, "Must be one of"),
        ],
    )
    def test_a_refused_field_names_what_would_be_taken(self, api, admin, address, body, said):
        answer = api(admin).post(address, body, format="json")

        assert (answer.status_code, said in answer.json()["detail"]) == (400, True), answer.json()

    def test_a_missing_scope_is_named_in_the_sentence_too(self, api, lead):
        _, text = services.create_token(actor=lead, name="x", scopes=["tickets:read"])

        answer = api().post(
            "/api/v1/tickets",
            {"title": "x"},
            format="json",
            headers={"Authorization": f"Bearer {text}"},
        )

        assert answer.status_code == 403
        assert "tickets:write" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_no_setting_opens_where_clouds_keep_their_secrets(settings, host):
    settings.WEBHOOK_HTTP = True
    settings.EGRESS_ALLOW = ["169.254.0.0/16", "fe80::/10", "::ffff:169.254.0.0/112"]

    with pytest.raises(EgressRefused) as refused:
        check_url(f"http://{host}/latest/meta-data/")

    assert "is never called" in refused.value.remedy_text
    assert "LEMNOS_EGRESS_ALLOW" not in refused.value.remedy_text
