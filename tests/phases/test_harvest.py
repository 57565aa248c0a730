"""K-10: what phases found out goes on with a ticket, told in short, within limits."""

import json
from typing import Any

import pytest

from phases import services
from phases.context import HISTORY, LIMIT_BYTES, with_phase
from phases.harvest import POINTS, SUMMARY_CHARACTERS, cut, once_each, summary_of
from phases.models import PhaseContext, Task, Ticket


@pytest.fixture
def ticket(team, lead):
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead,
        title="Ship",
        workflow="software_development",
        phase="PHASE_BACKLOG",
        context={"mine": 1},
    )


@pytest.fixture
def done(lead, agent, ticket):
    """A completed task of the ticket with this result."""

    def made(**result: Any) -> Task:
        task = services.create_task(actor=lead, ticket=ticket, task_type="look", title="Look")
        [claim] = services.claim_tasks(actor=agent, capabilities=[], task_id=task.pk)
        services.complete_task(
            actor=agent, task_id=task.pk, fence=claim.task.fence, result={"summary": "", **result}
        )
        return task

    return made


@pytest.fixture
def update(lead, ticket):
    return lambda **named: services.update_context(actor=lead, ticket_id=ticket.pk, **named)


def fresh(ticket):
    return Ticket.objects.get(pk=ticket.pk)


class TestHarvest:
    def test_takes_all_that_completed_tasks_told_in_the_order_of_their_end(self, done, update):
        first = done(
            summary="Hull is sound",
            outputs={"planks": 40},
            decisions=["oak", {"text": "no sails", "by": "me"}],
            risks=["rot"],
            notes=["wet"],
            artifacts=[{"type": "note", "path": "a.md", "content": "x" * 20}],
        )
        second = done(
            summary="y" * 600,
            decisions=[{"by": "me", "text": "no sails"}, "oak", "pitch"],
            risks=["rot", "worm"],
            artifacts=[{"type": "note", "path": "a.md", "content": "other"}],
        )

        kept = update().context

        assert kept["mine"] == 1
        assert kept["last_updated_phase"] == "PHASE_BACKLOG"
        found = kept["phases"]["PHASE_BACKLOG"]
        assert found["tasks"] == [
            {
                "id": str(first.pk),
                "type": "look",
                "summary": "Hull is sound",
                "outputs": {"planks": 40},
            },
            {"id": str(second.pk), "type": "look", "summary": "y" * 500, "outputs": {}},
        ]
        assert found["decisions"] == ["oak", {"text": "no sails", "by": "me"}, "pitch"]
        assert (found["risks"], found["notes"]) == (["rot", "worm"], ["wet"])
        assert found["artifacts"] == [{"type": "note", "path": "a.md"}]
        assert found["summary"].startswith("Hull is sound")
        [entry] = kept["history"]
        assert (entry["phase"], entry["tasks"]) == ("PHASE_BACKLOG", 2)

    def test_twice_changes_nothing(self, ticket, done, update):
        done(summary="Hull is sound", outputs={"x": [1, 1.5, None]})
        once = update()
        row = PhaseContext.objects.get(ticket=ticket)

        again = update()

        assert (again.version, again.context) == (once.version, once.context)
        assert again.updated_at == once.updated_at
        assert PhaseContext.objects.get(ticket=ticket).updated_at == row.updated_at
        done(summary="Mast too")
        more = update()
        assert len(more.context["history"]) == 1
        assert more.context["history"][0]["tasks"] == 2
        assert PhaseContext.objects.count() == 1

    def test_nothing_done_is_nothing_kept(self, ticket, update):
        same = update()

        assert (same.context, same.context_summary) == ({"mine": 1}, "")
        assert not PhaseContext.objects.exists()

    def test_leaving_a_phase_does_it_too(self, ticket, done, lead):
        done(summary="Hull is sound", decisions=["oak"])

        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_REQUIREMENTS")

        kept = fresh(ticket)
        assert kept.context["phases"]["PHASE_BACKLOG"]["decisions"] == ["oak"]
        assert kept.context_summary == "- Backlog: Hull is sound\n- Decided: oak"
        beside = PhaseContext.objects.get(ticket=ticket)
        assert beside.context_data["decisions"] == ["oak"]
        assert beside.context_summary == kept.context_summary

    def test_nothing_of_a_replaced_source_stays_beside(self, team, lead, agent, monkeypatch):
        from phases import context

        monkeypatch.setitem(context._kinds, "repository", lambda *_: None)
        services.seed_team(team=team)
        checkup = services.open_ticket(
            actor=lead, title="x", workflow="repo_checkup", context={"source": {"kind": "self"}}
        )
        [claim] = services.claim_tasks(actor=agent, capabilities=["inventory"])
        services.complete_task(
            actor=agent, task_id=claim.task.pk, fence=claim.task.fence, result={"summary": "old"}
        )
        services.update_context(actor=lead, ticket_id=checkup.pk)

        services.update_ticket(
            actor=lead,
            ticket_id=checkup.pk,
            version=None,
            changes={"context": {"source": {"kind": "archive"}}},
        )

        assert not PhaseContext.objects.filter(ticket=checkup).exists()


class TestLimits:
    def test_the_whole_stays_within_256_kib_whatever_was_found(self, ticket, done, update, lead):
        for n in range(4):
            done(summary=f"s{n}", decisions=[f"{n} " + "d" * 90_000], outputs={"x": "y" * 90_000})

        kept = update().context

        assert len(json.dumps(kept, ensure_ascii=False).encode()) <= LIMIT_BYTES
        assert kept["mine"] == 1
        data = PhaseContext.objects.get(ticket=ticket).context_data
        assert len(json.dumps(data).encode()) <= LIMIT_BYTES
        before = fresh(ticket)
        assert update().version == before.version
        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_REQUIREMENTS")

    def test_at_most_50_visits_are_told(self):
        context: dict[str, Any] = {}
        for n in range(HISTORY + 5):
            found = {"tasks": [], "summary": f"{n}", "visit": n, "until": None}
            context = with_phase(context, "PHASE_A", found)

        assert len(context["history"]) == HISTORY
        assert context["history"][-1]["summary"] == str(HISTORY + 4)

    def test_the_summary_has_20_points_and_2000_characters_cut_at_a_word(self):
        words = " ".join(f"word{n}" for n in range(200))
        phases = [
            (f"Phase {n}", {"summary": words, "decisions": [words] * 9, "risks": [{"text": words}],
                            "tasks": [{"type": "a", "summary": words}] * 2})
            for n in range(8)
        ]  # fmt: skip

        told = summary_of(phases)

        lines = told.split("\n")
        assert len(lines) == POINTS
        assert len(told) <= SUMMARY_CHARACTERS
        assert [line for line in lines if line.startswith("- Phase")] == [
            line for line in lines if "Phase" in line
        ]
        assert sum("Phase" in line for line in lines) == 8
        ends = [line.removesuffix("…").split()[-1] for line in lines]
        assert all(end in words.split() for end in ends)

    def test_lists_keep_one_of_each_by_their_json(self):
        items = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, [1], [1], "x", "X", "x", 1, True]

        assert once_each(items) == [{"a": 1, "b": 2}, [1], "x", "X", 1, True]

    @pytest.mark.parametrize(
        ("text", "limit", "told"),
        [("a  b\nc", 9, "a b c"), ("alpha beta", 8, "alpha…"), ("alphabeta", 5, "alph…")],
    )
    def test_a_text_is_cut_behind_a_word(self, text, limit, told):
        assert cut(text, limit) == told


class TestApi:
    def test_tells_what_it_was_given_and_what_was_found(
        self, ticket, done, lead, viewer, outsider, api
    ):
        done(summary="Hull is sound")
        where = f"/api/v1/tickets/{ticket.pk}"

        updated = api(lead).post(f"{where}/update-context")
        read = api(viewer).get(f"{where}/context")

        assert (updated.status_code, read.status_code) == (200, 200)
        assert updated.json() == read.json()
        assert read.json()["full_context"]["mine"] == 1
        assert read.json()["summary"] == "- Backlog: Hull is sound"
        assert api(outsider).get(f"{where}/context").status_code == 404

    def test_what_the_ticket_has_no_room_for_is_read_from_beside_it(
        self, ticket, done, update, viewer, api
    ):
        done(summary="Hull is sound")
        update()
        Ticket.objects.filter(pk=ticket.pk).update(context={"mine": 1})

        told = api(viewer).get(f"/api/v1/tickets/{ticket.pk}/context").json()["full_context"]

        assert told["phases"]["PHASE_BACKLOG"]["summary"] == "Hull is sound"

    def test_a_phase_is_named_by_key_or_id(self, ticket, done, lead, api):
        done(summary="Hull is sound")
        services.transition(actor=lead, ticket_id=ticket.pk, to_phase="PHASE_REQUIREMENTS")
        where = f"/api/v1/tickets/{ticket.pk}/update-context"
        client = api(lead)

        for name in ("PHASE_BACKLOG", str(ticket.phase_id)):
            assert client.post(f"{where}?phase_id={name}").status_code == 200
        assert client.post(f"{where}?phase_id=PHASE_NOWHERE").status_code == 404
        assert client.post(f"{where}?phase=PHASE_BACKLOG").status_code == 400

    def test_is_for_those_with_a_part_in_it(self, ticket, team, viewer, outsider, agent, api):
        where = f"/api/v1/tickets/{ticket.pk}/update-context"

        statuses = [api(who).post(where).status_code for who in (viewer, agent, outsider)]

        assert statuses == [403, 403, 404]
