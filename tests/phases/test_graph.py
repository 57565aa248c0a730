"""The task graph: nodes, what waits for what, what came out of a discovery, the longest chain."""

import itertools

import pytest
from django.utils import timezone

from guardian.models import uuid7
from phases import graph, services
from phases.graph import on_longest_chain
from phases.models import Task, TaskDiscovery


@pytest.fixture
def ticket(team, lead):
    services.seed_team(team=team)
    return services.open_ticket(actor=lead, title="Ship", workflow="software_development")


@pytest.fixture
def make(lead, ticket):
    def made(title, *waits_for, ticket=ticket, **fields):
        ids = [task.pk for task in waits_for]
        return services.create_task(
            actor=lead, ticket=ticket, task_type="code", title=title, depends_on=ids, **fields
        )

    return made


def found_in(task, actor):
    return TaskDiscovery.objects.create(
        team=task.team,
        source_task=task,
        discovery_type="bug",
        description="Leaks at the stern",
        discovered_by=actor.user,
        discovered_at=timezone.now(),
    )


class TestTicketGraph:
    def test_shows_tasks_and_what_they_wait_for(self, ticket, make, lead, agent, api):
        hull = make("Hull")
        mast = make("Mast", hull)
        services.claim_tasks(actor=agent, capabilities=[], task_id=hull.pk)

        answer = api(lead).get(f"/api/v1/tickets/{ticket.pk}/graph")

        assert answer.status_code == 200
        told = answer.json()
        nodes = {node["label"]: node for node in told["nodes"]}
        assert nodes["Hull"] == {
            "id": str(hull.pk),
            "label": "Hull",
            "type": "code",
            "phase": "PHASE_REQUIREMENTS",
            "status": "assigned",
            "holder": {"id": str(agent.id), "name": agent.name, "kind": "agent"},
            "critical": True,
            "ticket": {"id": str(ticket.pk), "number": ticket.number},
        }
        assert nodes["Mast"]["holder"] is None
        assert told["edges"] == [
            {
                "from": str(hull.pk),
                "to": str(mast.pk),
                "type": "dependency",
                "discovery_type": None,
                "label": "waits for",
            }
        ]
        assert told["truncated"] is False

    def test_a_branch_shows_its_edge(self, ticket, make, lead):
        hull = make("Hull")
        patch = make("Patch", discovery=found_in(hull, lead), depth=1)

        told = graph.ticket_graph(ticket)

        assert told["edges"] == [
            {
                "from": str(hull.pk),
                "to": str(patch.pk),
                "type": "discovery",
                "discovery_type": "bug",
                "label": "Leaks at the stern",
            }
        ]

    def test_shows_also_what_it_waits_for_in_other_tickets(self, ticket, make, lead):
        other = services.open_ticket(actor=lead, title="Dock", workflow="software_development")
        dock, crane = make("Dock", ticket=other), make("Crane", ticket=other)
        hull = make("Hull", dock)

        told = graph.ticket_graph(ticket)

        numbers = {node["label"]: node["ticket"]["number"] for node in told["nodes"]}
        assert numbers["Dock"] == other.number
        assert crane.title not in numbers
        assert [(e["from"], e["to"]) for e in told["edges"]] == [(str(dock.pk), str(hull.pk))]

    def test_marks_only_the_longest_chain_of_open_tasks(self, ticket, make, lead, agent):
        done, wood = make("Done"), make("Wood")
        [claimed] = services.claim_tasks(actor=agent, capabilities=[], task_id=done.pk)
        services.complete_task(
            actor=agent, task_id=done.pk, fence=claimed.task.fence, result={"summary": "x"}
        )
        plank = make("Plank", done, wood)
        hull = make("Hull", plank)
        make("Alone", done)

        told = graph.ticket_graph(ticket)

        marked = {node["label"] for node in told["nodes"] if node["critical"]}
        assert marked == {"Wood", "Plank", "Hull"}
        labels = {(e["from"], e["to"]): e["label"] for e in told["edges"]}
        assert labels[str(done.pk), str(plank.pk)] == "waited for"
        assert labels[str(plank.pk), str(hull.pk)] == "waits for"

    def test_is_for_the_team_and_its_readers(self, ticket, viewer, outsider, api):
        where = f"/api/v1/tickets/{ticket.pk}/graph"

        assert api(viewer).get(where).status_code == 200
        assert api(outsider).get(where).status_code == 404
        assert api().get(where).status_code == 401


class TestBoardGraph:
    def test_shows_the_tasks_of_open_tickets_of_one_workflow(self, ticket, make, lead, api):
        closed = services.open_ticket(actor=lead, title="Old", workflow="software_development")
        make("Gone", ticket=closed)
        services.cancel_ticket(actor=lead, ticket_id=closed.pk, reason="not wanted")
        elsewhere = services.open_ticket(actor=lead, title="Else", workflow="default")
        make("Elsewhere", ticket=elsewhere)
        hull = make("Hull")
        make("Mast", hull)

        answer = api(lead).get("/api/v1/board/graph?workflow=software_development")

        assert answer.status_code == 200
        assert {node["label"] for node in answer.json()["nodes"]} == {
            "Analyse the requirements",
            "Hull",
            "Mast",
        }
        assert len(answer.json()["edges"]) == 1

    def test_names_the_workflows_where_there_is_no_such_one(self, ticket, lead, api):
        missing = api(lead).get("/api/v1/board/graph?workflow=nowhere")
        odd = api(lead).get("/api/v1/board/graph?workflow=%00&colour=red")

        assert missing.status_code == 404
        assert "software_development" in missing.json()["detail"]
        assert odd.status_code == 400

    def test_takes_as_many_statements_with_many_tasks(
        self, ticket, make, lead, django_assert_num_queries
    ):
        hull = make("Hull")
        for n in range(12):
            make(f"Plank {n}", hull, discovery=found_in(hull, lead))

        with django_assert_num_queries(2):
            graph.board_graph(ticket.workflow)
        with django_assert_num_queries(2):
            graph.ticket_graph(ticket)

    def test_keeps_the_newest_where_there_are_too_many(self, ticket, make, monkeypatch):
        monkeypatch.setattr(graph, "MOST", 3)
        tasks = [make("First")]
        for n in range(4):
            tasks.append(make(f"Next {n}", tasks[-1]))

        told = graph.board_graph(ticket.workflow)

        assert [node["label"] for node in told["nodes"]] == ["Next 3", "Next 2", "Next 1"]
        assert told["truncated"] is True
        assert len(told["edges"]) == 2
        assert graph.ticket_graph(ticket)["truncated"] is True
        assert Task.objects.filter(ticket=ticket).count() > 3


class TestLongestChain:
    def test_is_empty_without_an_edge(self):
        assert on_longest_chain({uuid7(), uuid7()}, []) == set()

    def test_survives_a_long_chain_and_a_circle(self):
        chain = [uuid7() for _ in range(2_000)]
        a, b = uuid7(), uuid7()
        edges = [*itertools.pairwise(chain), (a, b), (b, a)]

        assert on_longest_chain({*chain, a, b}, edges) == set(chain)
