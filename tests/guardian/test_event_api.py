"""The event log over REST: lists, one event with its receivers, figures, replays."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from guardian import outbox, relay
from guardian.models import Delivery, Event

ROOTS = ["/api/v1/events", "/api/events"]


def forged(team, *, kind="camera.lost", age_hours=0.0, **fields):
    """An event of another time, as only the past can have made it."""
    at = timezone.now() - timedelta(hours=age_hours)
    return Event.objects.create(team=team, kind=kind, created_at=at, **fields)


@pytest.mark.django_db
@pytest.mark.parametrize("root", ROOTS)
class TestReading:
    def test_finds_a_kind_under_both_of_its_names(self, api, lead, team, root):
        outbox.emit("phases.test.happened", team_id=team.pk)
        client = api(lead)

        for name in ("phases.test.happened", "test.happened"):
            found = client.get(f"{root}?kind={name}").json()["results"]
            assert [event["kind"] for event in found] == ["phases.test.happened"]

    def test_filters_by_what_an_event_says(self, api, lead, team, root):
        outbox.emit("phases.a.b", team_id=team.pk)
        wanted = outbox.emit(
            "phases.c.d", subject=team, team_id=team.pk, actor=lead, priority="low"
        )
        relay.run_once()
        seq = Event.objects.get(pk=wanted.pk).seq
        client = api(lead)

        for query in (
            "kind=c.d",
            "priority=low&kind=c.d",
            "priority=4&kind=c.d",
            f"actor={lead.id}&kind=c.d",
            f"subject_label=guardian.team&subject_id={team.pk}&kind=c.d",
            f"since_seq={seq - 1}&kind=phases.c.d",
            "source=internal&kind=c.d",
            "created_at__gte=2020-01-01&kind=c.d",
        ):
            found = client.get(f"{root}?{query}").json()["results"]
            assert [event["id"] for event in found] == [str(wanted.pk)], query
        assert client.get(f"{root}?since_seq={seq}&kind=c.d").json()["results"] == []
        assert client.get(f"{root}?colour=red").json()["code"] == "bad_filter"
        assert client.get(f"{root}?priority=urgent").json()["code"] == "bad_filter"

    def test_shows_an_event_with_its_receivers(self, api, lead, team, hear, root):
        name = hear("phases.test.happened", lambda event: None)
        event = outbox.emit("phases.test.happened", team_id=team.pk)
        relay.run_once()

        body = api(lead).get(f"{root}/{event.pk}").json()

        delivery = body["deliveries"][0]
        assert (delivery["handler"], delivery["state"]) == (name, "done")
        assert delivery["processed_by"].startswith("relay@")
        assert delivery["processed_at"]

    def test_a_list_costs_the_same_at_any_length(
        self, api, lead, team, django_assert_max_num_queries, root
    ):
        for number in range(30):
            outbox.emit("phases.test.happened", team_id=team.pk, number=number)
        relay.run_once()
        client = api(lead)

        with django_assert_max_num_queries(5):
            assert len(client.get(f"{root}?limit=30").json()["results"]) == 30

    def test_what_belongs_to_others_is_not_found(self, api, outsider, team, root):
        event = outbox.emit("phases.test.happened", team_id=team.pk)

        assert api(outsider).get(f"{root}/{event.pk}").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("root", ROOTS)
class TestStats:
    def test_equal_the_rows(self, api, lead, team, other_team, hear, root):
        def fail(event):
            raise ValueError("no")

        relay.run_once()
        client = api(lead)
        hear("camera.lost", lambda event: None)
        hear("camera.broken", fail)
        forged(team, age_hours=30)
        for _ in range(3):
            forged(team, priority=1)
        parked = forged(team, kind="camera.broken", priority=4)
        forged(team, kind="orchestrator.event.unhandled", alias="event.unhandled", priority=4)
        forged(other_team)
        relay.run_once()
        Delivery.objects.filter(event=parked).update(state="parked")
        forged(team, kind="camera.new")  # not numbered yet

        body = client.get(f"{root}/stats").json()
        wide = client.get(f"{root}/stats?hours=48").json()

        rows = Event.objects.filter(team=team, created_at__gt=timezone.now() - timedelta(hours=24))
        assert body["window_hours"] == 24
        assert body["total"] == rows.count()
        open_ = Delivery.objects.filter(event__in=rows).exclude(state="done").values("event")
        done = rows.exclude(seq=None).exclude(pk__in=open_)
        assert body["processed"] == done.count()
        assert body["unprocessed"] == rows.count() - done.count() == 2
        assert (body["unhandled"], body["parked"]) == (1, 1)
        assert body["distinct_types"] == rows.values("kind").distinct().count()
        assert body["by_priority"] == {
            word: rows.filter(priority=number).count() for word, number in outbox.PRIORITIES.items()
        }
        ran = [d.duration_ms for d in Delivery.objects.filter(event__in=rows, state="done")]
        assert body["mean_processing_ms"] == pytest.approx(sum(ran) / len(ran), abs=0.001)
        assert wide["total"] == body["total"] + 1

    @pytest.mark.parametrize("hours", ["0", "x", "-1", "99999999999"])
    def test_refuses_a_window_that_is_none(self, api, lead, root, hours):
        answer = api(lead).get(f"{root}/stats?hours={hours}")

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_filter")


@pytest.mark.django_db
@pytest.mark.parametrize("root", ROOTS)
class TestReplay:
    @pytest.fixture
    def parked(self, team, hear):
        heard = []
        names = [hear("camera.lost", lambda event, n=n: heard.append(n)) for n in range(3)]
        event = forged(team)
        relay.stamp()
        Delivery.objects.filter(handler__in=names[:2]).update(state="parked", attempts=8)
        relay.run_once()
        heard.clear()
        return event, names, heard

    def test_lets_all_parked_receivers_try_again(self, api, admin, parked, root):
        event, names, heard = parked

        answer = api(admin).post(f"{root}/{event.pk}/replay", {"reason": "mended"}, format="json")
        relay.run_once()

        assert answer.status_code == 202, answer.content
        assert answer.json() == {"event_id": str(event.pk), "handlers": names[:2]}
        assert sorted(heard) == [0, 1]
        told = Event.objects.filter(kind="guardian.delivery.retried")
        assert {e.data["handler"] for e in told} == set(names[:2])
        assert {e.reason for e in told} == {"mended"}

    def test_or_the_named_ones_alone(self, api, admin, parked, root):
        event, names, heard = parked
        body = {"reason": "mended", "handlers": [names[1]]}

        answer = api(admin).post(f"{root}/{event.pk}/replay", body, format="json")
        relay.run_once()

        assert answer.status_code == 202
        assert heard == [1]
        assert Delivery.objects.get(handler=names[0], event=event).state == "parked"

    def test_refuses_what_is_not_parked_or_no_receiver(self, api, admin, parked, root):
        event, names, _ = parked
        client, url = api(admin), f"{root}/{event.pk}/replay"

        done = client.post(url, {"reason": "again", "handlers": [names[2]]}, format="json")
        unknown = client.post(url, {"reason": "again", "handlers": ["nobody"]}, format="json")
        without = client.post(url, {}, format="json")
        missing = client.post(f"{root}/{uuid4()}/replay", {"reason": "again"}, format="json")

        assert (done.status_code, done.json()["code"]) == (409, "illegal_transition")
        assert (unknown.status_code, unknown.json()["errors"][0]["path"]) == (400, "handlers")
        assert without.json()["errors"][0]["path"] == "reason"
        assert missing.status_code == 404

    def test_needs_its_scope_and_the_own_team(self, api, lead, outsider, parked, root):
        event, *_ = parked
        body = {"reason": "again"}

        narrow = api(lead).post(f"{root}/{event.pk}/replay", body, format="json")
        foreign = api(outsider).post(f"{root}/{event.pk}/replay", body, format="json")

        assert (narrow.status_code, narrow.json()["code"]) == (403, "scope_missing")
        assert foreign.status_code == 404


@pytest.mark.django_db
def test_kinds_from_outside_are_remembered_beyond_the_window(team):
    from guardian.event_reads import kinds_of

    for kind, age in (("a.old", 100), ("a.old", 90), ("b.new", 1), ("b.new", 60), ("c.old", 80)):
        forged(team, kind=kind, age_hours=age, source="api")
    forged(team, kind="phases.own.old", age_hours=50)

    found = {row.kind: row.count for row in kinds_of(team_id=team.pk, window=timedelta(hours=24))}

    del found["guardian.team.created"]
    assert found == {"a.old": 0, "b.new": 1, "c.old": 0}
