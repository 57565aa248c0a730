"""Webhooks: who is told, what they are told, how it is signed, what happens when it fails."""

import base64
import json
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from guardian import events, outbox, relay, services
from guardian.errors import EgressRefused, StaleVersion, WebhookKeyMissing
from guardian.models import Event, Webhook, WebhookDelivery
from guardian.services import Outcome
from guardian.services.webhook_deliveries import WAITS_SECONDS, wanted_by_webhooks
from guardian.signatures import secret_of, sign

URL = "https://hooks.example.com/in/very-secret"


def make(actor, name="ci", kinds=("phases.ticket.*",), **more) -> Webhook:
    webhook, _ = services.create_webhook(actor=actor, name=name, url=URL, kinds=list(kinds), **more)
    return webhook


def happen(actor, kind=events.LOCK_RELEASED, **data) -> Event:
    with transaction.atomic():
        return outbox.emit(kind, actor=actor, **data)


def jobs(webhook) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'guardian.deliver_webhook'"
            " AND status = 'todo' AND args->>'webhook_id' = %s",
            [str(webhook.pk)],
        )
        return int(cursor.fetchone()[0])


def attempt(webhook, status=None, error="no answer") -> WebhookDelivery | None:
    """One attempt as a courier makes it, without the network."""
    WebhookDelivery.objects.pending().filter(webhook=webhook).update(next_at=timezone.now())
    letter = services.take_up_delivery(webhook_id=webhook.pk)
    assert letter is not None
    return services.settle_delivery(letter=letter, outcome=Outcome(status, 12.5, error))


class TestSignature:
    def test_equals_the_published_vector(self):
        """That of the reference libraries of Standard Webhooks."""
        made = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp=1614265330,
            body=b'{"test": 2432232314}',
        )

        assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_a_secret_is_made_of_key_id_and_generation_alone(self, settings):
        one = "01890a5d-ac96-774b-bcce-b302099a8057"
        other = "01890a5d-ac96-774b-bcce-b302099a8058"

        made = {secret_of(one, 1), secret_of(one, 2), secret_of(other, 1)}

        assert len(made) == 3
        assert secret_of(one, 1) in made
        assert all(len(base64.b64decode(text.removeprefix("whsec_"))) == 32 for text in made)
        settings.WEBHOOK_KEY = "another key of this installation"
        assert secret_of(one, 1) not in made
        settings.WEBHOOK_KEY = ""
        with pytest.raises(WebhookKeyMissing):
            secret_of(one, 1)


@pytest.mark.django_db
class TestApi:
    def test_create_shows_the_secret_once(self, api, admin):
        client = api(admin)

        made = client.post(
            "/api/v1/webhooks",
            {"name": "ci", "url": URL, "kinds": ["ticket.*"]},
            format="json",
            headers={"Idempotency-Key": "k1"},
        )
        again = client.post(
            "/api/v1/webhooks",
            {"name": "ci", "url": URL, "kinds": ["ticket.*"]},
            format="json",
            headers={"Idempotency-Key": "k1"},
        )
        shown = client.get(f"/api/v1/webhooks/{made.json()['id']}")

        assert made.status_code == 201
        webhook = Webhook.objects.get()
        assert made.json()["secret"] == secret_of(webhook.pk, 1)
        assert again.json()["secret"] == "[redacted]"
        assert "secret" not in shown.json()
        assert shown["ETag"] == '"v1"'
        stored = str(Webhook.objects.values().get()) + str(list(Event.objects.values()))
        assert made.json()["secret"] not in stored

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("url", "http://hooks.example.com/", "egress_refused"),
            ("url", "https://127.0.0.1/", "egress_refused"),
            ("url", "https://u:p@hooks.example.com/", "egress_refused"),
            ("kinds", [], "invalid"),
            ("kinds", ["Ticket.*"], "invalid"),
            ("kinds", ["*.moved"], "invalid"),
            ("name", "taken", "already_exists"),
        ],
    )
    def test_refuses_what_could_never_work(self, api, admin, field, value, code):
        make(admin, name="taken")
        webhook = make(admin, name="mine")
        body = {"name": "new", "url": URL, "kinds": ["*"], field: value}

        made = api(admin).post("/api/v1/webhooks", body, format="json")
        changed = api(admin).patch(f"/api/v1/webhooks/{webhook.pk}", {field: value}, format="json")

        assert (made.json()["code"], changed.json()["code"]) == (code, code)
        assert made.json()["remedy"]
        assert Webhook.objects.count() == 2

    def test_change_is_guarded_by_if_match_where_it_is_sent(self, api, admin):
        webhook = make(admin)
        client = api(admin)
        where = f"/api/v1/webhooks/{webhook.pk}"

        first = client.patch(where, {"name": "b"}, format="json", headers={"If-Match": '"v1"'})
        stale = client.patch(where, {"name": "c"}, format="json", headers={"If-Match": '"v1"'})
        without = client.patch(where, {"kinds": ["*"]}, format="json")

        assert (first.status_code, first["ETag"]) == (200, '"v2"')
        assert (stale.status_code, stale.json()["current_etag"]) == (412, '"v2"')
        assert without.json()["version"] == 3

    def test_events_of_changes_hide_the_path_of_the_address(self, api, admin):
        webhook = make(admin)

        api(admin).patch(
            f"/api/v1/webhooks/{webhook.pk}",
            {"url": "https://hooks.example.com/other-secret"},
            format="json",
        )

        event = Event.objects.get(kind=events.WEBHOOK_CHANGED)
        assert event.after == {"url": "https://hooks.example.com/…"}
        assert "secret" not in str(event.before)

    def test_an_address_that_is_not_allowed_any_more_can_be_changed(self, admin, settings):
        settings.WEBHOOK_HTTP = True
        webhook, _ = services.create_webhook(
            actor=admin, name="ci", url="http://example.org/in?key=hidden", kinds=["*"]
        )
        settings.WEBHOOK_HTTP = False

        services.change_webhook(
            actor=admin, webhook_id=webhook.pk, url="https://example.org/in", reason="safer"
        )

        told = Event.objects.get(kind=events.WEBHOOK_CHANGED)
        assert told.after["url"] == "https://example.org/…"
        assert "hidden" not in str(told.before)

    def test_delete_takes_its_deliveries_along(self, api, admin):
        webhook = make(admin, kinds=["*"])
        happen(admin)
        relay.run_once()

        answer = api(admin).delete(f"/api/v1/webhooks/{webhook.pk}")

        assert answer.status_code == 204
        assert not WebhookDelivery.objects.exists()
        assert Event.objects.filter(kind=events.WEBHOOK_DELETED).exists()

    def test_who_may_read_may_not_write_and_others_see_nothing(self, api, admin, lead, outsider):
        webhook = make(admin, kinds=["*"])
        happen(admin)
        relay.run_once()
        delivery = WebhookDelivery.objects.first()
        here = f"/api/v1/webhooks/{webhook.pk}"
        writes = [
            ("patch", here, {"name": "x"}),
            ("delete", here, None),
            ("post", f"{here}/test", {}),
            ("post", f"{here}/rotate-secret", {}),
            ("post", f"/api/v1/webhooks/deliveries/{delivery.pk}/redeliver", {}),
        ]

        assert api(lead).get(here).status_code == 200
        assert api(lead).get(f"{here}/deliveries").status_code == 200
        for verb, path, body in writes:
            refused = getattr(api(lead), verb)(path, body, format="json")
            unknown = getattr(api(outsider), verb)(path, body, format="json")
            assert (refused.status_code, unknown.status_code) == (403, 404)
        assert api(outsider).get(f"{here}/deliveries").status_code == 404
        assert api(outsider).get("/api/v1/webhooks").json()["results"] == []

    def test_deliveries_are_listed_newest_first_and_filtered(self, api, admin):
        webhook = make(admin, kinds=["guardian.lock.*"])
        happen(admin, events.LOCK_RELEASED)
        happen(admin, events.LOCK_EXPIRED)
        relay.run_once()
        client = api(admin)
        here = f"/api/v1/webhooks/{webhook.pk}/deliveries"

        rows = client.get(here).json()["results"]
        some = client.get(here, {"kind": events.LOCK_EXPIRED}).json()["results"]

        assert [row["kind"] for row in rows] == [events.LOCK_EXPIRED, events.LOCK_RELEASED]
        assert [row["kind"] for row in some] == [events.LOCK_EXPIRED]
        assert client.get(here, {"state": "done"}).json()["results"] == []

    def test_a_test_goes_to_its_webhook_alone(self, api, admin):
        webhook, other = make(admin, "one"), make(admin, "two", kinds=["*"])

        answer = api(admin).post(f"/api/v1/webhooks/{webhook.pk}/test", {}, format="json")
        relay.run_once()

        assert answer.status_code == 202
        delivery = WebhookDelivery.objects.get(event__kind=events.WEBHOOK_TESTED)
        assert str(delivery.event_id) == answer.json()["event_id"]
        assert delivery.webhook == webhook != other


@pytest.mark.django_db
class TestWhoIsTold:
    @pytest.mark.parametrize(
        ("kinds", "told"),
        [
            (["guardian.lock.released"], True),
            (["resource.released"], True),
            (["guardian.lock.*"], True),
            (["guardian.*"], True),
            (["resource.*"], True),
            (["*"], True),
            (["guardian.loc.*"], False),
            (["guardian.lock"], False),
            (["lock.released"], False),
            (["phases.*", "guardian.lock.expired"], False),
        ],
    )
    def test_whoever_names_its_kind_alias_or_family(self, admin, kinds, told):
        webhook = make(admin)
        # As stored: some of these would be refused as slips of the pen.
        Webhook.objects.filter(pk=webhook.pk).update(kinds=kinds)
        event = happen(admin)

        relay.run_once()
        relay.run_once()

        found = WebhookDelivery.objects.filter(event=event)
        assert [row.webhook for row in found] == ([webhook] if told else [])
        assert jobs(webhook) <= 1  # one courier for all that is due
        assert (jobs(webhook) == 1) is (told or kinds == ["guardian.*"])

    def test_nobody_of_another_team_and_no_disabled_one(self, admin, outsider):
        make(outsider, kinds=["*"])
        make(admin, kinds=["*"], enabled=False)
        event = happen(admin)

        relay.run_once()

        assert not WebhookDelivery.objects.filter(event=event).exists()

    def test_an_event_is_told_exactly_if_it_committed(self, admin):
        make(admin, kinds=["*"])
        with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012  the raise is the point
            outbox.emit(events.LOCK_RELEASED, actor=admin)
            raise ZeroDivisionError
        relay.run_once()

        assert not WebhookDelivery.objects.filter(event__kind=events.LOCK_RELEASED).exists()

    def test_a_batch_costs_one_question_and_nothing_more_where_nobody_listens(
        self, admin, outsider
    ):
        make(outsider, kinds=["*"])
        make(admin, kinds=["phases.*"])
        relay.run_once()
        batch = [happen(admin) for _ in range(200)]

        with CaptureQueriesContext(
            connection,
        ) as asked:
            wanted = list(wanted_by_webhooks(batch))

        assert (wanted, len(asked)) == ([], 1)


@pytest.mark.django_db
class TestBody:
    def letter(self, webhook):
        relay.run_once()
        return services.take_up_delivery(webhook_id=webhook.pk)

    def test_has_type_timestamp_and_data(self, admin):
        webhook = make(admin, kinds=["guardian.lock.*"])
        event = happen(admin, resource_id="bay 3", api_key="hunter2")

        letter = self.letter(webhook)

        body = json.loads(letter.body)
        assert set(body) == {"type", "timestamp", "data"}
        assert body["type"] == "guardian.lock.released"
        assert body["timestamp"] == Event.objects.get(pk=event.pk).created_at.isoformat()
        assert body["data"]["id"] == letter.message_id == str(event.pk)
        assert body["data"]["alias"] == "resource.released"
        assert body["data"]["data"] == {"resource_id": "bay 3", "api_key": "[redacted]"}
        assert body["data"]["seq"] == Event.objects.get(pk=event.pk).seq

    @pytest.mark.parametrize("text", ["x" * 30_000, "ä" * 15_000])
    def test_too_much_is_cut_to_ids_with_a_mark(self, admin, text):
        webhook = make(admin, kinds=["guardian.lock.*"])
        event = happen(admin, text=text)

        letter = self.letter(webhook)

        body = json.loads(letter.body)
        assert len(letter.body) <= 20_000
        assert body["data"]["truncated"] is True
        assert (body["data"]["id"], body["data"]["data"]) == (str(event.pk), None)

    def test_a_long_reason_is_cut_too(self, admin):
        webhook = make(admin, kinds=["*"])
        relay.run_once()
        WebhookDelivery.objects.all().delete()
        outbox.emit(
            "phases.test.happened",
            team_id=admin.team_id,
            reason="\U0001f600" * 2000,
            text="x" * 9000,
        )
        relay.run_once()

        assert len(self.letter(webhook).body) <= 20_000

    def test_a_letter_shows_no_secret_when_printed(self, admin):
        webhook = make(admin, kinds=["guardian.lock.*"])
        happen(admin)

        letter = self.letter(webhook)

        assert "whsec_" not in repr(letter)
        assert "very-secret" not in repr(letter)


@pytest.mark.django_db
class TestRotation:
    def test_both_secrets_sign_for_a_day(self, api, admin):
        webhook = make(admin, kinds=["guardian.lock.*"])
        old = secret_of(webhook.pk, 1)

        answer = api(admin).post(f"/api/v1/webhooks/{webhook.pk}/rotate-secret", {}, format="json")
        happen(admin)
        relay.run_once()
        during = services.take_up_delivery(webhook_id=webhook.pk)
        Webhook.objects.update(rotated_at=timezone.now() - timedelta(hours=24, seconds=1))
        WebhookDelivery.objects.update(next_at=timezone.now())
        after = services.take_up_delivery(webhook_id=webhook.pk)

        new = answer.json()["secret"]
        assert new == secret_of(webhook.pk, 2) != old
        assert during.secrets == (new, old)
        assert after.secrets == (new,)


@pytest.mark.django_db
class TestRetries:
    @pytest.fixture
    def webhook(self, admin) -> Webhook:
        webhook = make(admin, kinds=["guardian.lock.*"])
        happen(admin)
        relay.run_once()
        return webhook

    def test_waits_longer_each_time_and_gives_up_after_the_eighth(self, webhook):
        waits = []
        for _ in range(8):
            before = timezone.now()
            row = attempt(webhook, status=500)
            waits.append((row.next_at - before).total_seconds())

        assert row.state == "parked"
        for wait, seconds in zip(waits, WAITS_SECONDS, strict=False):
            assert 0.8 * seconds - 1 <= wait <= 1.2 * seconds + 1
        webhook.refresh_from_db()
        assert (webhook.failures, webhook.enabled) == (1, True)
        assert services.take_up_delivery(webhook_id=webhook.pk) is None

    def test_waits_are_spread(self, admin, webhook):
        for _ in range(20):
            happen(admin)
        relay.run_once()
        waits = set()
        for _ in range(20):
            before = timezone.now()
            waits.add(round((attempt(webhook, 500).next_at - before).total_seconds(), 2))

        assert len(waits) > 5

    def test_success_ends_it_and_forgets_failures(self, webhook):
        Webhook.objects.update(failures=19)

        row = attempt(webhook, status=204, error="")

        assert (row.state, row.response_status, row.error) == ("done", 204, "")
        webhook.refresh_from_db()
        assert webhook.failures == 0

    def test_twenty_given_up_in_a_row_disable_it(self, admin, webhook):
        Webhook.objects.update(failures=19)
        WebhookDelivery.objects.update(attempt=7)

        attempt(webhook, status=503)

        webhook.refresh_from_db()
        assert (webhook.enabled, webhook.failures) == (False, 20)
        assert "20 deliveries in a row" in webhook.disabled_reason
        told = Event.objects.get(kind=events.WEBHOOK_DISABLED)
        assert (told.subject_id, told.reason) == (str(webhook.pk), webhook.disabled_reason)

    def test_gone_disables_it_at_once(self, webhook):
        row = attempt(webhook, status=410)

        webhook.refresh_from_db()
        assert (row.state, webhook.enabled) == ("parked", False)
        assert "410 Gone" in webhook.disabled_reason
        assert Event.objects.filter(kind=events.WEBHOOK_DISABLED).count() == 1

    def test_enabled_again_it_gets_what_waited(self, api, admin, webhook):
        Webhook.objects.update(enabled=False, failures=20, disabled_reason="broken")
        assert services.take_up_delivery(webhook_id=webhook.pk) is None

        answer = api(admin).patch(
            f"/api/v1/webhooks/{webhook.pk}", {"enabled": True}, format="json"
        )

        shown = answer.json()
        assert (shown["enabled"], shown["failures"], shown["disabled_reason"]) == (True, 0, "")
        assert services.sweep_webhook_deliveries() == 1
        assert services.take_up_delivery(webhook_id=webhook.pk) is not None

    def test_one_in_the_air_is_nobody_elses_until_its_lease_ends(self, webhook):
        first = services.take_up_delivery(webhook_id=webhook.pk)

        assert services.take_up_delivery(webhook_id=webhook.pk) is None
        WebhookDelivery.objects.update(next_at=timezone.now())
        second = services.take_up_delivery(webhook_id=webhook.pk)
        late = services.settle_delivery(letter=first, outcome=Outcome(500, 1.0, "late"))
        row = services.settle_delivery(letter=second, outcome=Outcome(200, 1.0, ""))

        assert (first.message_id, second.attempt) == (second.message_id, 2)
        assert late is None
        assert row.state == "done"

    def test_a_redelivery_keeps_the_id_and_has_all_attempts_again(self, api, admin, webhook):
        done = attempt(webhook, status=200, error="")
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM procrastinate_jobs")

        answer = api(admin).post(
            f"/api/v1/webhooks/deliveries/{done.pk}/redeliver", {"reason": "lost it"}, format="json"
        )

        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        assert jobs(webhook) == 1
        letter = services.take_up_delivery(webhook_id=webhook.pk)
        assert (letter.message_id, letter.attempt) == (str(done.event_id), 1)
        assert Event.objects.get(kind=events.WEBHOOK_REDELIVERED).reason == "lost it"

    def test_nothing_is_sent_again_to_a_disabled_one(self, api, admin, webhook):
        row = attempt(webhook, status=410)

        answer = api(admin).post(
            f"/api/v1/webhooks/deliveries/{row.pk}/redeliver", {}, format="json"
        )

        assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")

    @pytest.mark.parametrize("state", ["done", "parked"])
    def test_the_database_lets_no_delivery_begin_at_its_end(self, webhook, state):
        with pytest.raises(DatabaseError), transaction.atomic():
            connection.cursor().execute(
                "INSERT INTO guardian_webhookdelivery (id, created_at, updated_at, team_id,"
                " webhook_id, event_id, attempt, state, error, next_at)"
                " SELECT gen_random_uuid(), now(), now(), team_id, webhook_id, event_id, 0, %s,"
                " '', now() FROM guardian_webhookdelivery",
                [state],
            )


@pytest.mark.django_db
class TestServices:
    def test_a_stale_version_changes_nothing(self, admin):
        webhook = make(admin)

        with pytest.raises(StaleVersion):
            services.delete_webhook(actor=admin, webhook_id=webhook.pk, version=7)

        assert Webhook.objects.filter(pk=webhook.pk).exists()

    def test_an_address_may_only_be_changed_to_one_that_may_be_called(self, admin):
        webhook = make(admin)

        with pytest.raises(EgressRefused):
            services.change_webhook(actor=admin, webhook_id=webhook.pk, url="https://[::1]/")

        webhook.refresh_from_db()
        assert webhook.url == URL
