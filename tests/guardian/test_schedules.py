"""Events by the clock: made over REST, told once each by any number of workers."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, close_old_connections, connection, transaction
from django.utils import timezone

from guardian import relay, services
from guardian.jobs import run_schedules
from guardian.models import ErrorLog, Event, ScheduledEvent
from tests import factories

ROOTS = ["/api/v1/events", "/api/events"]
BODY = {"name": "Nightly", "kind": "schedule.nightly", "cron": "0 3 * * *"}


@pytest.fixture
def author(team):
    return factories.make_actor(team, "anna", role="author")


def make(actor, **fields):
    return services.create_schedule(actor=actor, **{**BODY, **fields})


def forge(schedule, **fields):
    """As if time had passed."""
    ScheduledEvent.objects.filter(pk=schedule.pk).update(**fields)


def told():
    return Event.objects.filter(source="schedule")


@pytest.mark.django_db
@pytest.mark.parametrize("root", ROOTS)
class TestApi:
    def test_makes_shows_changes_and_deletes(self, api, author, root):
        client = api(author)

        made = client.post(f"{root}/schedules", BODY | {"priority": 1}, format="json")

        assert made.status_code == 201, made.content
        body = made.json()
        assert made["ETag"] == '"v1"'
        assert (body["timezone"], body["missed"], body["grace_seconds"]) == ("UTC", "once", 300)
        assert (body["priority"], body["enabled"], body["run_count"]) == ("critical", True, 0)
        assert body["next_run"].endswith("T03:00:00Z")
        url = f"{root}/schedules/{body['id']}"
        assert client.get(url).json() == body
        assert [row["id"] for row in client.get(f"{root}/schedules").json()["results"]] == [
            body["id"]
        ]

        patched = client.patch(url, {"cron": "0 4 * * *"}, format="json")
        assert patched["ETag"] == '"v2"'
        assert patched.json()["next_run"].endswith("T04:00:00Z")
        off = client.patch(url, {"enabled": False}, format="json", headers={"If-Match": '"v2"'})
        assert off.json()["next_run"] is None
        put = client.put(url, BODY | {"timezone": "Europe/Berlin"}, format="json")
        assert (put.json()["enabled"], put.json()["priority"]) == (True, "normal")

        stale = client.delete(url, headers={"If-Match": '"v1"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
        assert stale.json()["current_etag"] == '"v4"'
        assert client.delete(url).status_code == 204
        assert client.get(url).status_code == 404
        kinds = Event.objects.filter(kind__startswith="guardian.schedule.")
        assert [e.kind.rpartition(".")[2] for e in kinds.order_by("created_at", "id")] == [
            "created", "updated", "updated", "updated", "deleted",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("fields", "status", "code", "path"),
        [
            ({"cron": "* * * *"}, 400, "invalid", "cron"),
            ({"cron": "0 0 30 2 *"}, 400, "invalid", "cron"),
            ({"timezone": "Mars/Olympus"}, 400, "invalid", "timezone"),
            ({"kind": "task.claimed"}, 403, "kind_reserved", None),
            ({"kind": "phases.a"}, 403, "kind_reserved", None),
            ({"missed": "never"}, 400, "invalid", "missed"),
            ({"priority": 7}, 400, "invalid", "priority"),
            ({"grace_seconds": -1}, 400, "invalid", "grace_seconds"),
            ({"payload": {"x": "y" * 70_000}}, 400, "invalid", "payload"),
            ({"next_run": "2030-01-01"}, 400, "unknown_field", "next_run"),
        ],
    )
    def test_refuses_what_cannot_be(self, api, author, root, fields, status, code, path):
        answer = api(author).post(f"{root}/schedules", BODY | fields, format="json")

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        if path:
            assert answer.json()["errors"][0]["path"] == path

    def test_refuses_a_second_of_the_same_name(self, api, author, root):
        make(author)

        answer = api(author).post(f"{root}/schedules", BODY, format="json")

        assert (answer.status_code, answer.json()["code"]) == (409, "already_exists")

    def test_runs_now_also_while_it_is_off(self, api, author, root):
        schedule = make(author, enabled=False, payload={"suite": "all"}, priority="high")

        answer = api(author).post(f"{root}/schedules/{schedule.pk}/run-now", {}, format="json")

        assert answer.status_code == 201, answer.content
        event = told().get()
        assert answer.json() == {"event_id": str(event.pk)}
        assert (event.kind, event.data, event.priority) == ("schedule.nightly", {"suite": "all"}, 2)
        assert (event.actor_id, event.subject_id) == (author.id, str(schedule.pk))
        schedule.refresh_from_db()
        assert (schedule.run_count, schedule.next_run) == (1, None)
        assert schedule.last_run is not None

    def test_needs_its_scope_and_the_own_team(self, api, author, lead, outsider, root):
        schedule = make(author)
        url = f"{root}/schedules/{schedule.pk}"

        for client, status in ((api(lead), 403), (api(outsider), 404)):
            assert client.patch(url, {"enabled": False}, format="json").status_code == status
            assert client.delete(url).status_code == status
            assert client.post(f"{url}/run-now", {}, format="json").status_code == status
        assert api(lead).get(url).status_code == 200
        assert api(lead).post(f"{root}/schedules", BODY, format="json").status_code == 403
        assert ScheduledEvent.objects.get().enabled


@pytest.mark.django_db
class TestDue:
    def test_tells_and_sets_the_next_time_together(self, author):
        schedule = make(author, payload={"a": 1}, priority="low")
        forge(schedule, next_run=timezone.now() - timedelta(seconds=20))

        assert run_schedules(0) == 1
        assert run_schedules(0) == 0

        event = told().get()
        assert (event.kind, event.data, event.priority) == ("schedule.nightly", {"a": 1}, 4)
        assert (event.team_id, event.actor_id) == (author.team_id, None)
        schedule.refresh_from_db()
        assert schedule.next_run > timezone.now()
        assert schedule.run_count == 1

    def test_what_is_not_due_or_off_is_left_alone(self, author):
        make(author)
        make(author, name="Off", enabled=False)

        assert services.run_due_schedules() == 0

    @pytest.mark.parametrize(("missed", "events"), [("skip", 0), ("once", 1), ("all", 12)])
    def test_after_a_pause_its_own_word_decides(self, author, missed, events):
        schedule = make(author, cron="*/5 * * * *", missed=missed)
        whole = timezone.now().replace(second=0, microsecond=0)
        newest = whole - timedelta(minutes=whole.minute % 5)
        forge(schedule, next_run=newest - timedelta(minutes=55))

        services.run_due_schedules()

        assert told().count() == events
        schedule.refresh_from_db()
        assert schedule.next_run > timezone.now()

    @pytest.mark.parametrize("missed", ["skip", "once"])
    def test_within_the_grace_nothing_is_missed(self, author, missed):
        schedule = make(author, missed=missed, grace_seconds=300)
        forge(schedule, next_run=timezone.now() - timedelta(seconds=290))

        services.run_due_schedules()

        assert told().count() == 1

    @pytest.mark.parametrize("pause", [timedelta(minutes=500), timedelta(days=20)])
    def test_of_a_very_long_pause_the_newest_hundred_are_told(self, author, pause):
        schedule = make(author, cron="* * * * *", missed="all")
        start = timezone.now() - pause
        forge(schedule, next_run=start.replace(second=0, microsecond=0))

        services.run_due_schedules()

        assert told().count() == 100
        newest = told().order_by("-id").first()
        minute = timezone.now().replace(second=0, microsecond=0)
        ends = {minute.isoformat(), (minute - timedelta(minutes=1)).isoformat()}
        assert newest.reason.removeprefix("Due at ").removesuffix(".") in ends

    def test_nobody_who_wants_it_is_told_of_once(self, author):
        schedule = make(author)
        forge(schedule, next_run=timezone.now())
        services.run_due_schedules()

        relay.run_once()
        relay.run_once()

        word = Event.objects.get(kind="orchestrator.event.unhandled")
        assert word.data == {"event_id": str(told().get().pk), "type": "schedule.nightly"}

    def test_one_that_cannot_be_told_stops_no_other(self, author, other_team):
        other = factories.make_actor(other_team, "olga", role="author")
        broken, fine = make(author), make(other, kind="ship.seen")
        before = timezone.now()
        for schedule in (broken, fine):
            forge(schedule, next_run=before - timedelta(seconds=1))
        forge(broken, timezone="Mars/Olympus", missed="all", next_run=before - timedelta(minutes=1))

        assert services.run_due_schedules() == 1

        assert [event.kind for event in told()] == ["ship.seen"]
        broken.refresh_from_db()
        assert broken.enabled
        assert broken.next_run > before
        noted = ErrorLog.objects.get(component="guardian.schedules")
        assert (noted.team_id, noted.error_code) == (author.team_id, "invalid")
        assert services.run_due_schedules() == 0

    def test_the_database_knows_that_only_an_enabled_one_has_a_next_time(self, author):
        schedule = make(author)

        with pytest.raises(IntegrityError), transaction.atomic():
            forge(schedule, next_run=None)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_four_workers_tell_a_hundred_due_schedules_once_each(team):
    author = factories.make_actor(team, "anna", role="author")
    for number in range(100):
        make(author, name=f"n{number}", kind=f"schedule.n{number}")
    ScheduledEvent.objects.update(next_run=timezone.now())
    start, counts = threading.Barrier(4), []

    def work():
        start.wait()
        counts.append(services.run_due_schedules())
        close_old_connections()
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sum(counts) == 100
    kinds = list(told().values_list("kind", flat=True))
    assert len(kinds) == len(set(kinds)) == 100
    assert not ScheduledEvent.objects.due().exists()


@pytest.mark.django_db
class TestShipped:
    def test_each_new_team_has_one_that_is_off(self, team):
        relay.run_once()

        shipped = ScheduledEvent.objects.get(team=team)
        assert (shipped.kind, shipped.cron) == ("schedule.regression", "0 */6 * * *")
        assert not shipped.enabled

    def test_one_that_was_deleted_stays_away(self, team, admin):
        shipped = services.seed_schedules(team=team)
        services.delete_schedule(actor=admin, schedule_id=shipped.pk)

        assert services.seed_schedules(team=team) is None
        assert not ScheduledEvent.objects.filter(team=team).exists()
