"""Operators make and change webhooks and schedules in forms, by the services the API calls."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from guardian import links
from guardian import services as guardian
from guardian.models import Budget, Event, Membership, ScheduledEvent, User, Webhook
from phases import services as phases
from phases.models import Ticket

pytestmark = pytest.mark.django_db
WHY = "they moved"
HOOK = {"name": "Chat", "url": "https://example.org/in", "kinds": "*", "enabled": "on"}
TIMED = {
    "name": "Nightly", "kind": "schedule.nightly", "cron": "0 3 * * *", "timezone": "UTC",
    "payload": "{}", "priority": "3", "missed": "once", "grace_seconds": "300", "enabled": "on",
}  # fmt: skip


@pytest.fixture
def client(admin):
    made = Client()
    made.force_login(admin.user)
    return made


@pytest.fixture
def webhook(admin) -> Webhook:
    return guardian.create_webhook(
        actor=admin, name="Chat", url="https://example.org/in", kinds=["*"]
    )[0]


def make(client, model, verb="make", **values):
    name = f"admin:guardian_{model._meta.model_name}_make"
    return client.post(reverse(name, args=[verb]), values, follow=True)


def opened(client, row, verb="change"):
    name = f"admin:guardian_{row._meta.model_name}_press"
    url = reverse(name, args=[row.pk, verb])
    return url, client.get(url).context


def change(client, row, verb="change", **values):
    url, asked = opened(client, row, verb)
    return client.post(url, {"seen": asked["seen"], "reason": WHY, **values}, follow=True)


class TestWebhooks:
    def test_one_is_made_and_its_secret_is_shown_once(self, client, admin):
        answer = make(client, Webhook, **HOOK | {"kinds": "phases.*\nguardian.lock.released"})

        made = Webhook.objects.get()
        assert (made.name, made.team_id) == ("Chat", admin.team_id)
        assert made.kinds == ["phases.*", "guardian.lock.released"]
        secret = answer.context["secret"].value
        assert secret.startswith("whsec_")
        assert "no-store" in answer["Cache-Control"]
        assert secret not in client.get(links.page_of(made)).content.decode()

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("url", "http://example.org/", "https"),
            ("kinds", "NO!", "a kind or alias"),
            ("kinds", "", "required"),
            ("name", "Chat", "already"),
        ],
    )
    def test_what_is_wrong_is_said_at_its_field(self, client, webhook, field, value, said):
        answer = make(client, Webhook, **HOOK | {"name": "Other", field: value})

        assert list(answer.context["form"].errors) == [field]
        assert said in str(answer.context["form"].errors[field])
        assert Webhook.objects.count() == 1

    def test_one_is_changed_with_a_reason(self, client, webhook):
        change(client, webhook, **HOOK | {"name": "Chat room", "kinds": "phases.*"})

        changed = Webhook.objects.get()
        assert (changed.name, changed.kinds, changed.enabled) == ("Chat room", ["phases.*"], True)
        assert Event.objects.get(kind="guardian.webhook.changed").reason == WHY

    def test_a_wrong_change_keeps_what_was_written(self, client, webhook):
        answer = change(client, webhook, **HOOK | {"name": "Room", "url": "http://example.org/"})

        assert list(answer.context["form"].errors) == ["url"]
        assert 'value="Room"' in answer.content.decode()
        assert Webhook.objects.get().name == "Chat"

    def test_a_stale_save_is_refused_with_what_changed_meanwhile(self, client, admin, webhook):
        url, asked = opened(client, webhook)
        guardian.change_webhook(actor=admin, webhook_id=webhook.pk, name="Renamed")

        answer = client.post(url, {**HOOK, "name": "Mine", "seen": asked["seen"], "reason": WHY})

        assert [(c["before"], c["now"]) for c in answer.context["changed"]] == [("Chat", "Renamed")]
        assert Webhook.objects.get().name == "Renamed"

    def test_one_is_deleted_and_the_list_says_so(self, client, webhook):
        answer = change(client, webhook, "remove")

        assert not Webhook.objects.exists()
        assert answer.redirect_chain == [(links.list_of(Webhook), 302)]

    def test_who_may_not_write_is_offered_nothing(self, lead, webhook):
        made = Client()
        made.force_login(lead.user)

        assert "New webhook" not in str(made.get(links.list_of(Webhook)).context["makes"])
        assert made.get(reverse("admin:guardian_webhook_make", args=["make"])).status_code == 403


class TestSchedules:
    def test_one_is_made_with_all_its_fields(self, client, admin):
        make(
            client, ScheduledEvent,
            **TIMED | {"payload": '{"deep": true}', "priority": "2", "missed": "all",
                       "timezone": "Europe/Athens", "grace_seconds": "60"},
        )  # fmt: skip

        made = ScheduledEvent.objects.get(name="Nightly")
        assert (made.kind, made.cron, made.timezone) == (
            "schedule.nightly", "0 3 * * *", "Europe/Athens",
        )  # fmt: skip
        assert (made.payload, made.priority, made.missed) == ({"deep": True}, 2, "all")
        assert (made.grace_seconds, made.enabled, made.team_id) == (60, True, admin.team_id)
        assert made.next_run is not None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("cron", "99 3 * * *"), ("timezone", "Mars/Olympus"), ("kind", "phases.ticket.moved"),
            ("payload", "[1]"), ("payload", "{"), ("grace_seconds", "-1"), ("name", ""),
            ("payload", '{"a": NaN}'), ("payload", '{"a": 1e999}'), ("payload", r'{"a": "\u0000"}'),
            ("payload", r'{"a": "\ud800"}'), ("payload", '{"a": 1, "a": 2}'),
            ("payload", '{"a":' * 200 + "1" + "}" * 200),
            ("payload", '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
            ("timezone", "/etc/passwd"), ("timezone", "../UTC"), ("cron", "*/0 * * * *"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_at_its_field(self, client, field, value):
        answer = make(client, ScheduledEvent, **TIMED | {field: value})

        assert list(answer.context["form"].errors) == [field]
        assert not ScheduledEvent.objects.filter(name="Nightly").exists()

    def test_one_is_changed_with_a_reason(self, client, admin):
        row = guardian.create_schedule(
            actor=admin, name="Nightly", kind="schedule.nightly", cron="0 3 * * *"
        )

        change(client, row, **TIMED | {"cron": "0 5 * * *"})

        assert ScheduledEvent.objects.get(pk=row.pk).cron == "0 5 * * *"
        assert Event.objects.get(kind="guardian.schedule.updated").reason == WHY

    def test_the_form_begins_with_what_is(self, client, admin):
        row = guardian.create_schedule(
            actor=admin, name="Nightly", kind="schedule.nightly", cron="0 3 * * *",
            payload={"deep": True}, enabled=False,
        )  # fmt: skip

        form = opened(client, row)[1]["form"]

        shown = {name: form[name].value() for name in TIMED}
        assert shown["payload"] == '{"deep": true}'
        assert (shown["cron"], shown["enabled"]) == ("0 3 * * *", False)


class TestAdding:
    def test_leads_to_the_button_that_makes_such_rows(self, client):
        answer = client.get(reverse("admin:guardian_webhook_add"))

        assert answer["Location"] == reverse("admin:guardian_webhook_make", args=["make"])

    def test_says_who_makes_rows_that_no_role_adds(self, client):
        answer = client.get(reverse("admin:guardian_event_add"))

        assert answer.status_code == 403
        assert "no role adds one here" in answer.content.decode()
        assert "Your role does not allow this" not in answer.content.decode()


class TestConfirming:
    def test_many_rows_of_which_some_fit_are_told_truly(self, client, admin, team):
        phases.seed_team(team=team)
        both = [
            phases.open_ticket(actor=admin, title=title, workflow="software_development")
            for title in ("Open one", "Ended one")
        ]
        phases.cancel_ticket(actor=admin, ticket_id=both[1].pk, reason="not needed")
        chosen = {"action": "cancel", "_selected_action": [str(t.pk) for t in both]}

        text = client.post(links.list_of(Ticket), chosen).content.decode()

        assert "1 of 2 will be changed" in text
        assert "nothing will change" not in text
        assert "refused: LEM-2" in text

    def test_the_first_field_has_the_focus(self, client):
        page = client.get(reverse("admin:guardian_user_make", args=["add_user"]))

        focused = [f.name for f in page.context["form"] if f.field.widget.attrs.get("autofocus")]
        assert focused == ["username"]

    def test_a_refusal_is_whole_sentences_at_its_field(self, client, admin):
        answer = make(
            client, User, "add_user",
            username="mia", kind="human", role="agent", reason=WHY, team=admin.team_id,
        )  # fmt: skip

        assert answer.context["form"].errors == {
            "role": ["Agent is the role of agents, and of them alone."]
        }

    def test_many_scopes_stand_under_their_label(self, client):
        page = client.get(reverse("admin:guardian_apitoken_make", args=["make"])).content.decode()

        assert '<fieldset class="lem-boxes"><legend>Scopes</legend>' in page


class TestBudgets:
    FORM = {
        "scope_type": "team", "scope_id": "", "period": "month", "limit": "25.50",
        "alert_threshold": "0.5", "critical_threshold": "0.9",
    }  # fmt: skip

    def test_one_is_made_changed_and_deleted_with_reasons(self, client, admin):
        make(client, Budget, reason=WHY, **self.FORM)

        made = Budget.objects.get()
        assert (made.limit, made.period, made.team_id) == (Decimal("25.50"), "month", admin.team_id)
        assert (made.alert_threshold, made.critical_threshold) == (Decimal("0.5"), Decimal("0.9"))
        change(client, made, limit="30", alert_threshold="0.5", critical_threshold="0.9")
        assert Budget.objects.get().limit == Decimal(30)
        change(client, made, "remove")
        assert not Budget.objects.exists()
        kinds = ["guardian.budget.created", "guardian.budget.changed", "guardian.budget.deleted"]
        told = Event.objects.filter(kind__in=kinds).order_by("id")
        assert [(e.kind, e.reason) for e in told] == [(kind, WHY) for kind in kinds]

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("scope_id", {"scope_type": "agent", "scope_id": "nobody"}),
            ("limit", {"limit": "-1"}),
            ("limit", {"limit": "NaN"}),
            ("limit", {"limit": "Infinity"}),
            ("limit", {"limit": "1e400"}),
            ("limit", {"limit": "1e-400"}),
            ("alert_threshold", {"alert_threshold": "0.0001"}),
            ("critical_threshold", {"critical_threshold": "1e9"}),
            ("alert_threshold", {"alert_threshold": "0.99"}),
            ("period_start", {"period": "custom"}),
        ],
    )
    def test_what_is_wrong_is_said_at_its_field(self, client, field, values):
        answer = make(client, Budget, reason=WHY, **self.FORM | values)

        assert list(answer.context["form"].errors) == [field]
        assert not Budget.objects.exists()


class TestMemberships:
    def test_a_user_of_one_team_is_put_into_another(self, client, admin, other_team, viewer):
        guardian.set_membership(user=admin.user, team=other_team, role="admin", authority=5)

        make(
            client, Membership, "admit", username="vera", role="operator", authority="",
            team=other_team.pk, reason=WHY,
        )  # fmt: skip

        made = Membership.objects.get(user=viewer.user, team=other_team)
        assert (made.role, made.authority) == ("operator", 3)
        assert User.objects.get(pk=viewer.id).is_staff

    @pytest.mark.parametrize("username", ["vera", "no-one"])
    def test_who_is_there_or_nowhere_is_named_at_the_field(self, client, team, viewer, username):
        answer = make(
            client, Membership, "admit", username=username, role="viewer", team=team.pk, reason=WHY
        )

        assert list(answer.context["form"].errors) == ["username"]

    def test_a_team_one_does_not_administer_is_no_choice(self, client, other_team, viewer):
        for model, verb in ((Membership, "admit"), (User, "add_user")):
            answer = make(
                client, model, verb, username="vera", role="viewer", kind="human",
                team=other_team.pk, reason=WHY,
            )  # fmt: skip
            assert "team" in answer.context["form"].errors

    def test_a_new_user_comes_into_the_chosen_team(self, client, admin, other_team):
        guardian.set_membership(user=admin.user, team=other_team, role="admin", authority=5)

        make(
            client, User, "add_user", username="nora", kind="human", role="viewer",
            team=other_team.pk, reason=WHY,
        )  # fmt: skip

        assert Membership.objects.get(user__username="nora").team == other_team
