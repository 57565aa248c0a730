"""D-1 and D-2: what is found at work is kept, and tasks come out of it, but never without end."""

import pytest

from guardian.models import Event
from phases import likeness, services
from phases.errors import SpawnLimit
from phases.models import ReadyTask, Task, TaskDiscovery, Ticket
from tests import factories

WHERE = "/api/v1/discoveries"


@pytest.fixture(autouse=True)
def measures(monkeypatch):
    """Nobody measures likeness here, unless a test puts somebody in."""
    found: list[likeness.Measure] = []
    monkeypatch.setattr(likeness, "_measures", found)
    return found


@pytest.fixture
def ticket(team, lead):
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead, title="Ship", workflow="software_development", priority=Ticket.Priority.HIGH
    )


@pytest.fixture
def source(ticket, agent):
    return services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


@pytest.fixture
def post(api, agent, source):
    def asked(body=None, actor=agent, where=WHERE, **fields):
        said = {
            "source_task": str(source.pk),
            "discovery_type": "bug",
            "description": "It leaks at the stern",
        }
        return api(actor).post(where, (said | fields) if body is None else body, format="json")

    return asked


def tasks(*titles, **fields):
    return [{"task_type": "fix", "title": title, **fields} for title in titles]


class TestRecording:
    def test_keeps_what_was_said_and_leaves_the_source_at_work(self, post, source, agent, ticket):
        answer = post(metadata={"seen": [1, {"deep": None}]}, evidence={"log": "drip"})

        assert answer.status_code == 201
        told = answer.json()
        assert told["metadata"] == {"seen": [1, {"deep": None}]}
        assert told["evidence"] == {"log": "drip"}
        assert (told["resolution_status"], told["priority_boost"]) == ("open", False)
        assert told["discovered_by"]["name"] == agent.name
        assert (told["ticket"], told["spawned_task_ids"], told["tasks"]) == (str(ticket.pk), [], [])
        assert Task.objects.get(pk=source.pk).status == "assigned"
        event = Event.objects.get(kind="phases.discovery.recorded")
        assert event.alias == "discovery.recorded"
        assert event.data["discovery_type"] == "bug"

    @pytest.mark.parametrize("kind", TaskDiscovery.Type.values)
    def test_takes_each_of_the_nine_types(self, post, kind):
        assert post(discovery_type=kind).status_code == 201

    @pytest.mark.parametrize(
        ("fields", "path"),
        [
            ({"discovery_type": "rumour"}, "discovery_type"),
            ({"description": ""}, "description"),
            ({"metadata": []}, "metadata"),
            ({"metadata": {"related_tasks": []}}, "metadata.related_tasks"),
            ({"spawn": []}, "spawn"),
            ({"spawn": tasks(*map(str, range(11)))}, "spawn"),
            ({"spawn": [{"title": "No type"}]}, "spawn.0.task_type"),
            ({"spawn": tasks("a", phase="PHASE_DONE")}, "spawn.0.phase"),
            ({"spawn": tasks("a", depends_on=["0" * 32])}, "spawn.0.depends_on"),
            ({"spawn": tasks("a", priority="LOW")}, "spawn.0.priority"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_names_what_is_wrong_and_stores_nothing(self, post, fields, path):
        answer = post(**fields)

        assert answer.status_code == 400
        assert path in [e["path"] for e in answer.json()["errors"]]
        assert not TaskDiscovery.objects.exists()
        assert Task.objects.count() == 1

    def test_the_same_key_records_once(self, api, agent, source):
        client = api(agent)
        body = {
            "source_task": str(source.pk),
            "discovery_type": "bug",
            "description": "It leaks",
            "spawn": tasks("Plug it"),
        }
        key = {"Idempotency-Key": "k1"}

        first = client.post(WHERE, body, format="json", headers=key)
        again = client.post(WHERE, body, format="json", headers=key)

        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        assert TaskDiscovery.objects.count() == 1
        assert Task.objects.filter(discovery__isnull=False).count() == 1

    def test_is_for_those_with_a_part_in_the_ticket(self, ticket, post, viewer, outsider, lead):
        stranger = factories.make_actor(ticket.team, "coder-2", role="agent", kind="agent")

        assert post(actor=stranger).json()["code"] == "not_yours"
        assert post(actor=viewer).json()["code"] == "scope_missing"
        assert post(actor=outsider).status_code == 404
        assert post(actor=lead).status_code == 201


class TestSpawning:
    def test_makes_tasks_in_any_phase_with_the_priority_of_the_source(self, post, source, ticket):
        spawn = [
            *tasks("Plug it", required_capabilities=["Hull"]),
            *tasks("Test it", phase="PHASE_TESTING", description="Pour water in"),
        ]

        told = post(spawn=spawn).json()

        here, later = told["tasks"]
        assert told["spawned_task_ids"] == [here["id"], later["id"]]
        assert (here["phase"], later["phase"]) == (source.phase.key, "PHASE_TESTING")
        assert {t["priority"] for t in told["tasks"]} == {"HIGH"}
        assert {t["status"] for t in told["tasks"]} == {"pending"}
        assert {t["depth"] for t in told["tasks"]} == {1}
        assert {t["discovery"] for t in told["tasks"]} == {told["id"]}
        assert here["required_capabilities"] == ["hull"]
        # What is of a later phase waits until the ticket is there.
        ready = [str(pk) for pk in ReadyTask.objects.values_list("pk", flat=True)]
        assert ready == [here["id"]]
        event = Event.objects.get(kind="phases.discovery.branch_created")
        assert event.data["tasks"] == told["spawned_task_ids"]

    def test_a_boost_is_one_step_up_and_never_beyond_the_first(self, post, source):
        one = post(spawn=tasks("Plug it"), priority_boost=True).json()
        Task.objects.filter(pk=source.pk).update(priority=1)
        other = post(spawn=tasks("Paint it"), priority_boost=True).json()

        assert [t["priority"] for t in one["tasks"] + other["tasks"]] == ["CRITICAL", "CRITICAL"]
        Task.objects.filter(pk=source.pk).update(priority=4)
        assert post(spawn=tasks("Wax it")).json()["tasks"][0]["priority"] == "LOW"

    def test_may_wait_for_the_source(self, post, source):
        told = post(spawn=tasks("Plug it", depends_on=[str(source.pk)])).json()

        assert told["tasks"][0]["deps_left"] == 1
        assert not ReadyTask.objects.exists()

    def test_stops_at_depth_5_and_stores_nothing_then(self, team, agent, ticket, source, post):
        here = source
        for depth in range(1, 6):
            told = post(source_task=str(here.pk), spawn=tasks(f"Level {depth}")).json()
            assert told["tasks"][0]["depth"] == depth
            here = Task.objects.get(pk=told["tasks"][0]["id"])

        refused = post(source_task=str(here.pk), spawn=tasks("Level 6"))

        assert (refused.status_code, refused.json()["code"]) == (409, "spawn_limit")
        assert (refused.json()["limit"], refused.json()["most"]) == ("discovery_depth", 5)
        assert refused.json()["remedy"]["text"]
        assert TaskDiscovery.objects.count() == 5
        assert Task.objects.count() == 6
        assert Event.objects.filter(kind="phases.discovery.recorded").count() == 5
        # To say it is still possible.
        assert post(source_task=str(here.pk)).status_code == 201

    def test_makes_at_most_50_of_a_ticket(self, post, ticket):
        for n in range(5):
            assert post(spawn=tasks(*(f"{n}-{m}" for m in range(10)))).status_code == 201

        refused = post(spawn=tasks("One more"))

        assert (refused.status_code, refused.json()["limit"]) == (409, "spawn_per_ticket")
        assert TaskDiscovery.objects.count() == 5

    def test_the_workflow_may_limit_it_further(self, ticket, agent, source):
        ticket.workflow.limits = {"discovery_depth": 1, "spawn_per_ticket": 2}
        ticket.workflow.save()
        spawn = [services.Spawn("fix", title) for title in "abc"]

        with pytest.raises(SpawnLimit):
            services.record_discovery(
                actor=agent,
                source_task=source.pk,
                discovery_type="bug",
                description="x",
                spawn=spawn,
            )
        _, [made, _] = services.record_discovery(
            actor=agent, source_task=source.pk, discovery_type="bug", description="x",
            spawn=spawn[:2],
        )  # fmt: skip
        with pytest.raises(SpawnLimit):
            services.record_discovery(
                actor=agent, source_task=made.pk, discovery_type="bug", description="x",
                spawn=spawn[2:],
            )  # fmt: skip

    def test_a_closed_ticket_gets_no_tasks(self, post, ticket, lead):
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not wanted")

        refused = post(spawn=tasks("Plug it"))

        assert (refused.status_code, refused.json()["code"]) == (409, "ticket_closed")
        assert post().status_code == 201


class TestLikeness:
    def test_a_copy_is_linked_and_never_dispatched(self, post, agent, ticket):
        original = post(spawn=tasks("Plug the  leak")).json()["tasks"][0]

        copy = post(spawn=tasks("plug the LEAK")).json()["tasks"][0]

        assert (copy["status"], copy["duplicate_of"]) == ("duplicated", original["id"])
        assert not ReadyTask.objects.filter(pk=copy["id"]).exists()
        event = Event.objects.get(kind="phases.task.duplicated")
        assert event.data["duplicate_of"] == original["id"]
        third = post(spawn=tasks("Plug the leak")).json()["tasks"][0]
        assert third["duplicate_of"] == original["id"]

    def test_only_in_its_phase_and_of_what_did_not_end_badly(self, post, lead):
        first = post(spawn=tasks("Plug it")).json()["tasks"][0]

        elsewhere = post(spawn=tasks("Plug it", phase="PHASE_TESTING")).json()["tasks"][0]
        services.cancel_task(actor=lead, task_id=first["id"], reason="not now")
        anew = post(spawn=tasks("Plug it")).json()["tasks"][0]

        assert (elsewhere["status"], anew["status"]) == ("pending", "pending")

    def test_also_among_tasks_made_together(self, post):
        one, two = post(spawn=tasks("Plug it", "plug it")).json()["tasks"]

        assert (two["status"], two["duplicate_of"]) == ("duplicated", one["id"])

    def test_who_measures_decides_at_092_and_050(self, post, measures):
        scores = {"Twin": 0.92, "Near": 0.919, "Kin": 0.5, "Far": 0.499}
        measures.append(
            lambda texts, others: [[scores.get(text, 0.0)] * len(others) for text in texts]
        )

        told = post(spawn=tasks("Near"), metadata={"mine": 1}).json()
        twin = post(spawn=tasks("Twin")).json()["tasks"][0]
        kin = post(spawn=tasks("Kin")).json()
        far = post(spawn=tasks("Far")).json()

        assert told["tasks"][0]["status"] == "pending"
        [near] = told["metadata"]["related_tasks"]
        assert (near["task"], near["similarity"]) == (told["tasks"][0]["id"], 0.919)
        assert told["metadata"]["mine"] == 1
        assert twin["status"] == "duplicated"
        assert {row["similarity"] for row in kin["metadata"]["related_tasks"]} == {0.5}
        assert "related_tasks" not in far["metadata"]

    def test_equal_texts_are_found_while_nobody_can_measure(self, post, measures):
        def out_of_order(texts, others):
            raise likeness.LikenessUnknown

        measures.append(out_of_order)

        one, two = post(spawn=tasks("Plug it", "Plug it")).json()["tasks"]

        assert (one["status"], two["status"]) == ("pending", "duplicated")

    def test_an_equal_made_since_the_comparison_is_found_behind_the_lock(
        self, ticket, agent, source
    ):
        spawn = [services.Spawn("fix", "Plug it")]
        early = services.compare_spawn(actor=agent, task_id=source.pk, spawn=spawn)
        facts = {"actor": agent, "source_task": source.pk, "discovery_type": "bug"}
        _, [first] = services.record_discovery(**facts, description="x", spawn=spawn)

        _, [late] = services.record_discovery(**facts, description="y", spawn=spawn, alike=early)

        assert (late.status, late.duplicate_of_id) == ("duplicated", first.pk)


class TestBranching:
    def test_makes_further_tasks_of_what_was_found(self, post, agent, api):
        found = post(spawn=tasks("Plug it")).json()

        answer = post({"spawn": tasks("Paint it")}, where=f"{WHERE}/{found['id']}/branch")

        assert answer.status_code == 201
        told = answer.json()
        assert [t["title"] for t in told["tasks"]] == ["Paint it"]
        assert len(told["spawned_task_ids"]) == 2
        assert Event.objects.filter(kind="phases.discovery.branch_created").count() == 2

    def test_not_of_what_is_settled(self, post, agent, api, viewer, outsider):
        found = post().json()
        where = f"{WHERE}/{found['id']}"

        assert post({"spawn": tasks("a")}, where=f"{where}/branch", actor=viewer).status_code == 403
        assert (
            post({"spawn": tasks("a")}, where=f"{where}/branch", actor=outsider).status_code == 404
        )
        assert post({}, where=f"{where}/branch").status_code == 400
        resolved = post({"status": "invalid", "note": "only dew"}, where=f"{where}/resolve")
        again = post({"spawn": tasks("a")}, where=f"{where}/branch")

        assert (resolved.status_code, resolved.json()["resolution_status"]) == (200, "invalid")
        assert (again.status_code, again.json()["code"]) == (409, "illegal_transition")


class TestResolving:
    def test_goes_step_by_step_and_ends(self, post, agent):
        where = f"{WHERE}/{post().json()['id']}/resolve"

        at_work = post({"status": "in_progress"}, where=where)
        done = post({"status": "resolved", "note": "plugged"}, where=where)
        again = post({"status": "in_progress"}, where=where)

        assert at_work.json()["resolution_status"] == "in_progress"
        assert done.json()["metadata"]["resolution"]["note"] == "plugged"
        assert done.json()["metadata"]["resolution"]["by"] == str(agent.id)
        assert again.status_code == 409
        events = Event.objects.filter(kind="phases.discovery.resolved").order_by("id")
        assert [event.data["status"] for event in events] == ["in_progress", "resolved"]

    def test_is_for_those_with_a_part_in_it(self, post, ticket, viewer, outsider):
        where = f"{WHERE}/{post().json()['id']}/resolve"
        stranger = factories.make_actor(ticket.team, "coder-2", role="agent", kind="agent")
        body = {"status": "resolved"}

        assert post(body, where=where, actor=stranger).json()["code"] == "not_yours"
        assert post(body, where=where, actor=viewer).status_code == 403
        assert post(body, where=where, actor=outsider).status_code == 404
        assert post({"status": "open"}, where=where).status_code == 400


class TestReading:
    @pytest.fixture
    def two(self, post):
        first = post(spawn=tasks("Plug it")).json()
        second = post(discovery_type="optimization", description="Shorter mast").json()
        return first["id"], second["id"]

    @pytest.mark.parametrize(
        ("query", "which"),
        [
            ("type=bug", [0]),
            ("status=open", [1, 0]),
            ("status=resolved", []),
            ("search=mast", [1]),
            ("type__in=bug,optimization", [1, 0]),
        ],
    )
    def test_is_filtered(self, two, viewer, api, query, which):
        rows = api(viewer).get(f"{WHERE}?{query}").json()["results"]

        assert [row["id"] for row in rows] == [two[n] for n in which]

    def test_is_found_by_task_and_ticket(self, two, source, ticket, viewer, api):
        client = api(viewer)

        for query in (f"task={source.pk}", f"ticket={ticket.pk}"):
            assert len(client.get(f"{WHERE}?{query}").json()["results"]) == 2
            wrong = query.split("=")[0] + "=" + str(two[0])
            assert client.get(f"{WHERE}?{wrong}").json()["results"] == []
        assert client.get(f"{WHERE}?type=rumour").status_code == 400

    def test_takes_as_many_statements_for_many(
        self, two, api, viewer, django_assert_max_num_queries
    ):
        client = api(viewer)
        client.get(WHERE)

        with django_assert_max_num_queries(9):
            client.get(WHERE)

    def test_one_by_one_and_for_the_team_alone(self, two, viewer, outsider, api):
        assert api(viewer).get(f"{WHERE}/{two[0]}").json()["discovery_type"] == "bug"
        assert api(outsider).get(f"{WHERE}/{two[0]}").status_code == 404
        assert api(outsider).get(WHERE).json()["results"] == []

    def test_figures_count_types_per_phase(self, two, viewer, outsider, api, source):
        told = api(viewer).get(f"{WHERE}/stats").json()

        assert told == {
            "phases": [
                {
                    "workflow": "software_development",
                    "phase": source.phase.key,
                    "types": {"bug": 1, "optimization": 1},
                    "total": 2,
                }
            ],
            "types": {"bug": 1, "optimization": 1},
            "statuses": {"open": 2},
            "total": 2,
        }
        assert api(viewer).get(f"{WHERE}/stats?type=bug").json()["total"] == 1
        assert api(outsider).get(f"{WHERE}/stats").json()["total"] == 0
