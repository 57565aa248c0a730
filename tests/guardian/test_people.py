"""Operators make users, teams and tokens, and change what people may, never above themselves."""

import re

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.urls import reverse

from config import reading
from guardian import links, services
from guardian.errors import AuthorityTooLow, Forbidden, NotFound, ScopeMissing, Unauthorized
from guardian.models import ApiToken, Event, Membership, Team, User
from guardian.sockets import visitor_of
from tests import factories

pytestmark = pytest.mark.django_db
WHY = "They join the harbour."
SECRET = re.compile(r'id="lem-secret"[^>]*value="([^"]+)"')


def enter(actor) -> Client:
    client = Client()
    client.force_login(getattr(actor, "user", actor))
    return client


def make(client, model, verb, **values):
    return client.post(
        reverse(f"admin:guardian_{model}_make", args=[verb]), {"reason": WHY, **values}
    )


def press(client, row, verb, **values):
    url = reverse(f"admin:guardian_{row._meta.model_name}_press", args=[row.pk, verb])
    seen = client.get(url).context["seen"]
    return client.post(url, {"reason": WHY, "seen": seen, **values}, follow=True)


def secret_in(answer) -> str:
    found = SECRET.search(answer.content.decode())
    assert found, answer.content.decode()[:2000]
    return found[1]


def membership_of(user) -> Membership:
    return Membership.objects.get(user=user)


def test_a_new_person_logs_in_with_the_password_shown_once_and_changes_it(admin):
    answer = make(
        enter(admin),
        "user",
        "add_user",
        username="nora",
        kind="human",
        role="operator",
        team=admin.team_id,
    )
    password = secret_in(answer)
    nora = Client()

    assert "no-store" in answer["Cache-Control"]
    assert nora.post("/login", {"username": "nora", "password": password}).status_code == 302
    for page in ("/", "/admin/", "/board/software_development"):
        assert nora.get(page, headers={"Accept": "text/html"})["Location"] == "/password", page
    told = nora.get("/api/v1/tickets")
    assert (told.status_code, "/password" in told.json()["remedy"]["text"]) == (403, True)
    assert "An operator set your password" in nora.get("/password").content.decode()
    kept = {"present": password, "new": password, "again": password}
    assert "must be another" in nora.post("/password", kept).content.decode()
    values = {"present": password, "new": "tidal-harbour-37", "again": "tidal-harbour-37"}
    assert "is changed" in nora.post("/password", values).content.decode()
    user = User.objects.get(username="nora")
    assert user.password_changed_at is not None
    assert (user.is_staff, membership_of(user).authority) == (True, 3)
    assert nora.get("/admin/").status_code == 200, "this session goes on"
    event = Event.objects.get(kind="guardian.user.created")
    assert (event.reason, event.actor_id, event.subject_id) == (WHY, admin.id, str(user.pk))
    texts = [str(e.data) + str(e.after) for e in Event.objects.all()]
    assert not any(password in text for text in texts)


def test_a_token_of_somebody_with_a_first_password_works_on(admin, lead, api):
    client = api(lead)
    services.reset_password(actor=admin, user_id=lead.id, reason=WHY)

    assert client.get("/api/v1/tickets").status_code == 200


@pytest.mark.parametrize("said", ["Basic bm9yYTp4", "Bearer lem_000000000000.nonsense", "x", ""])
@pytest.mark.parametrize("page", ["/", "/admin/", "/board/software_development", "/api/v1/tickets"])
def test_no_header_opens_a_page_to_a_session_with_a_first_password(admin, lead, page, said):
    services.reset_password(actor=admin, user_id=lead.id, reason=WHY)
    client = enter(User.objects.get(pk=lead.id))

    answer = client.get(page, headers={"Accept": "text/html, */*", "Authorization": said})

    assert answer.status_code in {302, 401, 403}, page
    assert answer.status_code != 302 or answer["Location"] == "/password"


def test_no_socket_opens_to_a_session_with_a_first_password(admin, lead):
    services.reset_password(actor=admin, user_id=lead.id, reason=WHY)
    cookie = enter(User.objects.get(pk=lead.id)).cookies[settings.SESSION_COOKIE_NAME].value
    scope = {
        "type": "websocket",
        "path": "/ws/events",
        "headers": [(b"host", b"testserver"), (b"origin", b"http://testserver")],
        "session": SessionStore(cookie),
    }

    with pytest.raises(Unauthorized) as refusal:
        visitor_of(scope)

    assert "/password" in str(refusal.value)


def test_nobody_is_led_there_with_a_password_of_their_own(lead):
    services.ensure_admin(team=lead.team, password="harbour-of-lemnos")
    first = Client()
    first.force_login(User.objects.get(username="admin"))

    assert first.get("/admin/", headers={"Accept": "text/html"}).status_code == 200


def test_a_password_that_the_start_printed_is_asked_to_be_changed(lead, tmp_path):
    kept = tmp_path / "admin_password"
    kept.write_text("harbour-of-lemnos\n")
    printed = reading.made_up(kept, "harbour-of-lemnos")
    services.ensure_admin(team=lead.team, password="harbour-of-lemnos", printed=printed)
    first = Client()

    assert (
        first.post("/login", {"username": "admin", "password": "harbour-of-lemnos"}).status_code
        == 302
    )
    assert first.get("/admin/", headers={"Accept": "text/html"})["Location"] == "/password"
    assert not reading.made_up(kept, "chosen by hand")
    assert not reading.made_up(tmp_path / "none", "harbour-of-lemnos")


@pytest.mark.parametrize(
    ("present", "new", "again", "said"),
    [
        ("wrong", "tidal-harbour-37", "tidal-harbour-37", "present password is not right"),
        ("a long pass phrase", "12345678", "12345678", "too common"),
        ("a long pass phrase", "tidal-harbour-37", "tidal-harbour-38", "not the same"),
    ],
)
def test_a_refused_password_is_not_saved(lead, present, new, again, said):
    answer = enter(lead).post("/password", {"present": present, "new": new, "again": again})

    assert (answer.status_code, said in answer.content.decode()) == (400, True)
    assert User.objects.get(pk=lead.id).check_password("a long pass phrase")


def test_spaces_around_a_password_are_part_of_it(lead):
    client = enter(lead)
    spaced = {"new": " tidal harbour 37 ", "again": " tidal harbour 37 "}
    client.post("/password", {"present": "a long pass phrase", **spaced})

    values = {"present": spaced["new"], "new": "lighthouse-38", "again": "lighthouse-38"}

    assert client.post("/password", values).status_code == 200
    assert User.objects.get(pk=lead.id).check_password("lighthouse-38")


def test_the_password_page_wants_a_login_and_the_admins_own_leads_to_it(lead):
    assert Client().get("/password")["Location"].startswith("/login")
    assert enter(lead).get("/admin/password_change/")["Location"] == "/password"


def test_an_agent_is_made_without_a_password_and_gets_a_token_shown_once(admin):
    client = enter(admin)
    make(
        client, "user", "add_user", username="bot-1", kind="agent", role="agent", team=admin.team_id
    )
    bot = User.objects.get(username="bot-1")

    answer = make(
        client, "apitoken", "make", user=bot.pk, name="ci", days=30,
        scopes=["tickets:read", "tasks:work"], can_write="on",
    )  # fmt: skip

    assert not bot.has_usable_password()
    actor = services.authenticate_token(secret_in(answer), address="127.0.0.1")
    assert (actor.user, actor.scopes) == (bot, frozenset({"tickets:read", "tasks:work"}))
    listed = client.get(links.list_of(ApiToken)).content.decode()
    assert secret_in(answer) not in listed


def test_a_token_asks_for_no_scope_its_maker_lacks(lead):
    answer = make(
        enter(lead), "apitoken", "make", user=lead.id, name="x", days=1, scopes=["team:admin"]
    )

    assert answer.context["form"].errors["scopes"]
    assert not ApiToken.objects.exists()


def test_a_role_is_changed_with_a_reason_and_opens_or_closes_the_admin(admin, viewer):
    client = enter(admin)

    press(client, membership_of(viewer.user), "change_role", role="author", authority=2)
    assert User.objects.get(pk=viewer.id).is_staff
    press(client, membership_of(viewer.user), "change_role", role="viewer", authority=1)

    assert not User.objects.get(pk=viewer.id).is_staff
    last = Event.objects.filter(kind="guardian.membership.changed").latest("id")
    assert (last.before["role"], last.after["role"], last.reason) == ("author", "viewer", WHY)


def test_nobody_gives_or_takes_above_their_own_level(team, admin, lead):
    second = factories.make_actor(team, "bea", role="admin")  # level 4

    with pytest.raises(AuthorityTooLow):
        services.change_role(
            actor=second, membership_id=membership_of(lead.user).pk, role="admin", authority=5,
            reason=WHY,
        )  # fmt: skip
    with pytest.raises(AuthorityTooLow):
        services.deactivate_user(actor=second, user_id=admin.id, reason=WHY)
    with pytest.raises(AuthorityTooLow):
        services.reset_password(actor=second, user_id=admin.id, reason=WHY)
    with pytest.raises(AuthorityTooLow):
        services.add_user(actor=second, username="top", role="admin", authority=5, reason=WHY)
    with pytest.raises(AuthorityTooLow):
        services.found_team(actor=second, slug="reef", name="Reef", reason=WHY)
    with pytest.raises(ScopeMissing):
        services.rename_team(actor=lead, name="Mine", reason=WHY)
    assert not User.objects.filter(username="top").exists()


def test_nobody_acts_on_themselves_or_on_another_teams_people(admin, outsider):
    with pytest.raises(Forbidden):
        services.deactivate_user(actor=admin, user_id=admin.id, reason=WHY)
    with pytest.raises(Forbidden):
        services.change_role(
            actor=admin, membership_id=membership_of(admin.user).pk, role="viewer", authority=1,
            reason=WHY,
        )  # fmt: skip
    for verb in (services.deactivate_user, services.reset_password):
        with pytest.raises(NotFound):
            verb(actor=admin, user_id=outsider.id, reason=WHY)


def test_a_deactivated_user_is_out_at_once_and_comes_back(admin, lead):
    _, text = services.create_token(actor=lead, name="ci", scopes=["tickets:read"])
    theirs, client = enter(lead), enter(admin)

    press(client, lead.user, "deactivate")
    assert theirs.get("/admin/").status_code == 302
    with pytest.raises(Exception, match="token"):
        services.authenticate_token(text, address="127.0.0.1")
    press(client, lead.user, "reactivate")

    assert services.authenticate_token(text, address="127.0.0.1").user == lead.user
    kinds = Event.objects.filter(subject_id=str(lead.id)).values_list("kind", flat=True)
    assert {"guardian.user.deactivated", "guardian.user.reactivated"} <= set(kinds)


def test_a_new_first_password_ends_the_present_one(admin, lead):
    password = secret_in(press(enter(admin), lead.user, "reset_password"))
    lena = User.objects.get(pk=lead.id)

    assert lena.check_password(password)
    assert lena.password_changed_at is None
    assert Event.objects.get(kind="guardian.password.reset").reason == WHY


def test_teams_are_founded_and_renamed(admin):
    client = enter(admin)

    make(client, "team", "found", slug="reef", name="Reef")
    reef = Team.objects.get(slug="reef")
    press(client, reef, "rename", name="Coral reef")

    assert Team.objects.get(slug="reef").name == "Coral reef"
    assert Membership.objects.get(team=reef, user=admin.user).authority == 5
    assert Event.objects.get(kind="guardian.team.renamed").before == {"name": "Reef"}


def test_a_membership_ends_with_a_reason(admin, lead):
    press(enter(admin), membership_of(lead.user), "end")

    assert not Membership.objects.filter(user=lead.user).exists()


def test_who_may_not_sees_no_way_to_make_anybody(lead):
    client = enter(lead)

    assert "Add a user" not in client.get(links.list_of(User)).content.decode()
    assert (
        make(client, "user", "add_user", username="x", kind="human", role="viewer").status_code
        == 403
    )
    assert make(client, "team", "found", slug="x", name="X").status_code == 403


class TestStale:
    """A form that edits tells when its row was changed since it was opened."""

    def test_a_stale_save_is_refused_with_the_difference(self, admin, team):
        client, url = enter(admin), reverse("admin:guardian_team_press", args=[team.pk, "rename"])
        seen = client.get(url).context["seen"]
        services.rename_team(actor=admin, name="Meanwhile", reason=WHY)

        answer = client.post(url, {"reason": WHY, "name": "Mine", "seen": seen})

        assert answer.context["changed"] == [
            {"field": "Name", "before": "Harbour", "now": "Meanwhile"}
        ]
        text = answer.content.decode()
        assert "<del>Harbour</del>" in text
        assert "<ins>Meanwhile</ins>" in text
        assert Team.objects.get(pk=team.pk).name == "Meanwhile"
        again = {"reason": WHY, "name": "Mine", "seen": answer.context["seen"]}
        client.post(url, again)
        assert Team.objects.get(pk=team.pk).name == "Mine", "having seen it, one may go on"

    def test_a_picture_of_another_row_or_none_saves_nothing(self, admin, lead, viewer):
        client = enter(admin)
        mine, other = membership_of(lead.user), membership_of(viewer.user)
        url = "admin:guardian_membership_press"
        seen = client.get(reverse(url, args=[other.pk, "change_role"])).context["seen"]

        for text in ("", "forged", seen):
            values = {"reason": WHY, "role": "viewer", "authority": 1, "seen": text}
            client.post(reverse(url, args=[mine.pk, "change_role"]), values)

        assert membership_of(lead.user).role == "operator"

    def test_the_picture_holds_nothing_the_page_hides(self, admin):
        from django.core import signing

        from guardian import stale

        token, _ = services.create_token(actor=admin, name="ci", scopes=["tickets:read"])
        _, values = signing.loads(
            stale.seen(token, hidden={"secret_hash", "pepper_id"}), salt=stale.SALT
        )

        assert "secret_hash" not in values
        assert token.secret_hash not in str(values)
