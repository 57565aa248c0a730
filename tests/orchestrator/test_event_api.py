"""Events from outside: what may be published, whom it calls, and that nobody is told of too."""

import pytest

from guardian import kinds, relay
from guardian.errors import KindReserved
from guardian.models import Delivery, Event
from guardian.outbox import DATA_LIMIT_BYTES
from orchestrator import agent_schema, services
from orchestrator.models import AgentExecution, AgentTrigger

ROOTS = ["/api/v1/events", "/api/events"]


def published_agent(team, slug, *triggers, version="1.0.0"):
    spec = agent_schema.check(
        {
            "metadata": {"id": slug, "name": slug, "version": version, "author": "us"},
            "goal": {"type": "on-demand", "description": "Looks at what happened."},
            "triggers": list(triggers),
        }
    )
    made, _ = services.register_version(team=team, spec=spec)
    return services.publish_version(version=made)


def unhandled():
    return Event.objects.filter(kind="orchestrator.event.unhandled")


@pytest.mark.django_db
@pytest.mark.parametrize("root", ROOTS)
class TestPublish:
    def test_stores_what_happened_and_says_that_nobody_wants_it(self, api, lead, root):
        answer = api(lead).post(
            f"{root}/publish",
            {"type": "camera.lost", "payload": {"reason": "cable", "kind": 3}},
            format="json",
        )

        assert answer.status_code == 201, answer.content
        body = answer.json()
        assert (body["routed"], body["matched"]) == (False, 0)
        event = Event.objects.get(pk=body["event_id"])
        assert (event.kind, event.source, event.team_id) == ("camera.lost", "api", lead.team_id)
        assert event.data == {"reason": "cable", "kind": 3}
        assert (event.priority, event.actor_id, event.authority) == (3, lead.id, 4)
        relay.run_once()
        word = unhandled().get()
        assert word.data == {"event_id": str(event.pk), "type": "camera.lost"}
        assert (word.priority, word.alias) == (4, "event.unhandled")

    @pytest.mark.parametrize(
        ("given", "stored"),
        [("critical", 1), ("high", 2), ("normal", 3), ("low", 4), (1, 1), (2, 2), (3, 3), (4, 4)],
    )
    def test_takes_the_priority_as_word_or_number(self, api, lead, root, given, stored):
        body = {"type": "camera.lost", "priority": given}

        answer = api(lead).post(f"{root}/publish", body, format="json")

        assert Event.objects.get(pk=answer.json()["event_id"]).priority == stored

    @pytest.mark.parametrize("given", ["urgent", 0, 5, "1", True, None, 2.5, []])
    def test_refuses_another_priority(self, api, lead, root, given):
        body = {"type": "camera.lost", "priority": given}

        answer = api(lead).post(f"{root}/publish", body, format="json")

        assert answer.status_code == 400
        assert answer.json()["errors"][0]["path"] == "priority"

    @pytest.mark.parametrize(
        "kind",
        [
            "phases.ticket.created", "guardian.x", "orchestrator.event.unhandled", "tools.a.b",
            "memory.a", "agent.stale", "discovery.recorded", "coordination.sync.created",
            "agent.queue.long", "canary.seen", "board.wip_violated", "task.claimed",
            "resource.ready", "event.unhandled", "one", "a.b.c.d",
            "Camera.lost", "camera-1.lost", "camera..lost", ".lost", "camera.", "a." + "b" * 99,
            "camera.lost\n", "cämera.lost",
        ],
    )  # fmt: skip
    def test_keeps_our_own_names_and_forms(self, api, lead, root, kind):
        answer = api(lead).post(f"{root}/publish", {"type": kind}, format="json")

        assert (answer.status_code, answer.json()["code"]) == (403, "kind_reserved")
        assert not Event.objects.filter(source="api").exists()

    def test_a_first_word_of_our_names_is_not_ours_alone(self, api, lead, root):
        answer = api(lead).post(f"{root}/publish", {"type": "task.filed"}, format="json")

        assert answer.status_code == 201, answer.content

    def test_takes_what_just_fits_and_refuses_a_byte_more(self, api, lead, root):
        room = DATA_LIMIT_BYTES - len('{"text":""}')

        fits = api(lead).post(
            f"{root}/publish",
            {"type": "camera.lost", "payload": {"text": "x" * room}},
            format="json",
        )
        over = api(lead).post(
            f"{root}/publish",
            {"type": "camera.lost", "payload": {"text": "x" * (room + 1)}},
            format="json",
        )

        assert fits.status_code == 201
        assert over.status_code == 400
        assert over.json()["errors"][0]["path"] == "payload"
        assert Event.objects.filter(kind="camera.lost").count() == 1

    def test_a_foreign_team_is_not_found_and_the_own_is_taken(self, api, lead, other_team, root):
        body = {"type": "camera.lost"}

        own = api(lead).post(f"{root}/publish", body | {"team_id": str(lead.team_id)}, "json")
        foreign = api(lead).post(f"{root}/publish", body | {"team_id": str(other_team.pk)}, "json")

        assert own.status_code == 201
        assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")

    def test_a_repeated_key_publishes_once(self, api, lead, root):
        client = api(lead)
        headers = {"Idempotency-Key": "k1"}

        first = client.post(f"{root}/publish", {"type": "a.b"}, "json", headers=headers)
        again = client.post(f"{root}/publish", {"type": "a.b"}, "json", headers=headers)

        assert first.json() == again.json()
        assert Event.objects.filter(kind="a.b").count() == 1

    def test_a_viewer_may_not(self, api, viewer, root):
        answer = api(viewer).post(f"{root}/publish", {"type": "a.b"}, format="json")

        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


@pytest.mark.django_db
@pytest.mark.parametrize("root", ROOTS)
class TestAlarms:
    @pytest.mark.parametrize(
        ("path", "body", "kind", "priority", "data"),
        [
            ("alerts/blackscreen", {"device_id": "tv-1", "payload": {"source": {"kind": "self"}}},
             "alert.blackscreen", 1, {"device_id": "tv-1", "source": {"kind": "self"}}),
            ("alerts/device-offline", {"device_id": "tv-1"},
             "alert.device_offline", 2, {"device_id": "tv-1", "duration": 300}),
            ("builds/deployed", {"version": "7", "userinterface": "web"},
             "build.deployed", 2,
             {"version": "7", "userinterface": "web", "environment": "staging"}),
        ],
    )  # fmt: skip
    def test_each_is_an_event_of_its_kind(self, api, lead, root, path, body, kind, priority, data):
        answer = api(lead).post(f"{root}/{path}", body, format="json")

        assert answer.status_code == 201, answer.content
        assert set(answer.json()) == {"event_id", "routed"}
        event = Event.objects.get(pk=answer.json()["event_id"])
        assert (event.kind, event.priority, event.data) == (kind, priority, data)


@pytest.mark.django_db
class TestMatching:
    @pytest.mark.parametrize(
        ("wanted", "kind", "called"),
        [
            ("alert.a.b", "alert.a.b", True),
            ("alert.*", "alert.a.b", True),
            ("alert.*", "alert.a", True),
            ("alert.a.*", "alert.a.b", True),
            ("alert.a.*", "alert.a", False),
            ("alert.*", "alerts.a", False),
            ("alert.b", "alert.a", False),
        ],
    )
    def test_a_star_takes_one_or_more_last_parts(self, team, wanted, kind, called):
        published_agent(team, "watcher", {"type": wanted})

        found = services.matching(team_id=team.pk, kind=kind, data={})

        assert bool(found) is called

    def test_the_first_word_alone_is_not_taken(self):
        assert "alert.*" not in kinds.patterns_for("alert")

    def test_hears_our_own_kind_under_both_names(self, team):
        published_agent(team, "one", {"type": "phases.task.failed"})
        published_agent(team, "two", {"type": "task.failed"})

        found = services.matching(team_id=team.pk, kind="phases.task.failed", data={})

        assert [trigger.definition.slug for trigger in found] == ["one", "two"]

    @pytest.mark.parametrize(
        ("filters", "data", "called"),
        [
            ({"level": "high"}, {"level": "high"}, True),
            ({"level": "high"}, {"level": "low"}, False),
            ({"level": ["high", "low"]}, {"level": "low"}, True),
            ({"level": []}, {"level": "low"}, False),
            ({"seconds": ">= 300"}, {"seconds": 300}, True),
            ({"seconds": ">= 300"}, {"seconds": 299.5}, False),
            ({"seconds": "!= 3"}, {"seconds": 4}, True),
            ({"seconds": "< -1"}, {"seconds": -2}, True),
            ({"seconds": "<=1"}, {"seconds": "1"}, False),
            ({"seconds": "> 0"}, {}, False),
            ({"seconds": "!= 3"}, {}, False),
            ({"a.b.c": 1}, {"a": {"b": {"c": 1}}}, True),
            ({"a.b.c": 1}, {"a": {"b": 1}}, False),
            ({"on": 1}, {"on": True}, False),
            ({"on": True}, {"on": True}, True),
            ({"on": None}, {"on": None}, True),
            ({"on": None}, {}, False),
            ({"x": 1, "y": 2}, {"x": 1, "y": 3}, False),
        ],
    )
    def test_filters_look_into_the_payload(self, team, filters, data, called):
        published_agent(team, "watcher", {"type": "a.b", "filters": filters})

        found = services.matching(team_id=team.pk, kind="a.b", data=data)

        assert bool(found) is called

    def test_the_newest_version_alone_speaks_by_precedence_not_by_text(self, team):
        published_agent(team, "watcher", {"type": "new.kind"}, version="1.10.0")
        published_agent(team, "watcher", {"type": "old.kind"}, version="1.9.0")

        assert AgentTrigger.objects.get().type == "new.kind"
        assert services.matching(team_id=team.pk, kind="old.kind", data={}) == []

    def test_is_ordered_by_urgency_then_name_and_leaves_out_the_disabled(self, team):
        published_agent(team, "zeta", {"type": "a.b", "priority": "critical"})
        published_agent(team, "beta", {"type": "a.*"}, {"type": "a.b", "priority": "low"})
        published_agent(team, "alpha", {"type": "a.b"})
        off = published_agent(team, "off", {"type": "a.b"}).definition
        type(off).objects.filter(pk=off.pk).update(enabled=False)

        found = services.matching(team_id=team.pk, kind="a.b", data={})

        names = [(trigger.definition.slug, trigger.priority) for trigger in found]
        assert names == [("zeta", 1), ("alpha", 3), ("beta", 3)]

    def test_another_team_hears_nothing(self, team, other_team):
        published_agent(other_team, "watcher", {"type": "a.b"})

        assert services.matching(team_id=team.pk, kind="a.b", data={}) == []


@pytest.mark.django_db
class TestMany:
    def test_are_told_in_their_order_each_with_its_own_match(self, team, lead):
        published_agent(team, "watcher", {"type": "a.*", "filters": {"n": 1}}, {"type": "a.b"})
        told = [("a.b", {"n": 1}, "high"), ("a.c", {"n": 1}, "low"), ("a.c", {"n": 2}, "normal")]

        found = services.publish_many(actor=lead, told=told)
        relay.run_once()

        assert [published.matched for published in found] == [1, 1, 0]
        rows = Event.objects.filter(source="api").order_by("seq")
        assert [(e.kind, e.data, e.priority) for e in rows] == [
            ("a.b", {"n": 1}, 2), ("a.c", {"n": 1}, 4), ("a.c", {"n": 2}, 3),
        ]  # fmt: skip
        assert {e.actor_id for e in rows} == {lead.id}
        assert unhandled().get().data["event_id"] == str(found[2].event_id)

    def test_one_that_is_refused_takes_all_with_it(self, lead):
        with pytest.raises(KindReserved):
            services.publish_many(
                actor=lead, told=[("a.b", {}, "normal"), ("task.claimed", {}, "normal")]
            )

        assert not Event.objects.filter(source="api").exists()

    def test_count_as_many_as_are_called(self, team, lead):
        published_agent(team, "one", {"type": "a.*"}, {"type": "a.b"})
        published_agent(team, "two", {"type": "a.b", "filters": {"x": "> 2"}})
        off = published_agent(team, "off", {"type": "a.b"}).definition
        type(off).objects.filter(pk=off.pk).update(enabled=False)

        for data, count in (({"x": 3}, 2), ({"x": 2}, 1), ({}, 1)):
            told = services.publish(actor=lead, kind="a.b", payload=data)
            assert told.matched == count
            assert len(services.matching(team_id=team.pk, kind="a.b", data=data)) == count


@pytest.mark.django_db
class TestRoute:
    def test_queues_one_execution_per_agent_of_two_versions(self, api, lead, team):
        published_agent(team, "watcher", {"type": "a.b"}, version="1.0.0")
        newest = published_agent(team, "watcher", {"type": "a.*"}, {"type": "a.b"}, version="2.0.0")

        answer = api(lead).post(
            "/api/v1/events/publish", {"type": "a.b", "payload": {"x": 1}}, "json"
        )
        relay.run_once()

        assert (answer.json()["routed"], answer.json()["matched"]) == (True, 1)
        execution = AgentExecution.objects.get()
        assert (execution.kind, execution.state) == ("event", "queued")
        assert (execution.agent_version, execution.input) == (newest, {"x": 1})
        assert not unhandled().exists()

    def test_hearing_it_again_changes_nothing(self, api, lead, team):
        published_agent(team, "watcher", {"type": "a.b"})
        api(lead).post("/api/v1/events/publish", {"type": "a.b"}, format="json")
        relay.run_once()
        Delivery.objects.filter(handler="orchestrator.route_event").update(state="pending")

        relay.run_once()

        assert AgentExecution.objects.count() == 1

    def test_our_own_events_are_delivered_to_the_router_only_if_a_trigger_names_them(self, team):
        relay.run_once()
        published_agent(team, "watcher", {"type": "agent.published"})
        published_agent(team, "other", {"type": "nothing.else"})

        relay.run_once()

        heard = Delivery.objects.filter(handler="orchestrator.route_event").select_related("event")
        assert {delivery.event.kind for delivery in heard} == {"orchestrator.agent.published"}
        watchers = AgentExecution.objects.filter(definition__slug="watcher")
        assert watchers.count() == 2  # its own publication and the other's

    def test_an_event_that_nobody_wants_is_told_of_once(self, api, lead):
        api(lead).post("/api/v1/events/publish", {"type": "a.b"}, format="json")

        relay.run_once()
        relay.run_once()

        assert unhandled().count() == 1
        assert not AgentExecution.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("root", ROOTS)
class TestTypes:
    def test_lists_kinds_with_their_count_and_whom_they_call(self, api, lead, team, outsider, root):
        published_agent(
            team, "watcher", {"type": "a.*", "priority": "high"}, {"type": "never.seen"}
        )
        for _ in range(2):
            services.publish(actor=lead, kind="a.b", payload={})
        services.publish(actor=outsider, kind="foreign.kind", payload={})

        body = api(lead).get(f"{root}/types").json()

        types = {row["type"]: row for row in body["types"]}
        assert body["total"] == len(types)
        assert types["a.b"]["count_24h"] == 2
        assert types["a.b"]["last_at"] is not None
        called = {"agent": "watcher", "type": "a.*", "priority": "high", "filters": {}}
        assert types["a.b"]["triggers"] == [called]
        assert (types["never.seen"]["count_24h"], types["never.seen"]["last_at"]) == (0, None)
        assert types["orchestrator.agent.published"]["count_24h"] == 1
        assert "foreign.kind" not in types
