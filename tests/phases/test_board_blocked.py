"""What the board says of a blocked ticket: its cause, the better way on, what counts now."""

import re

import pytest
from django.test import Client

from guardian import relay
from phases import services
from phases.board import cards, snapshot
from phases.models import Ticket, Workflow
from phases.panel import panel
from tests.phases.test_restarts import archive, now

PANEL = "/board/repo_checkup/tickets/1?fragment=1"
BLOCKED = {"archive_invalid": True, "archive_unsafe": True, "isolation_unavailable": False}


@pytest.fixture
def checkup(team, lead) -> Ticket:
    services.seed_team(team=team)
    return services.open_ticket(
        actor=lead,
        title="Look",
        workflow="repo_checkup",
        context={"source": archive(lead, {"bad.py": "x"})},
    )


@pytest.fixture
def end(checkup, agent):
    """`end("archive_invalid")`: the open task fails with this code; without one it is completed."""

    def end_task(code: str = "") -> Ticket:
        task = services.claim_tasks(actor=agent, capabilities=["inventory"])[0].task
        if code:
            services.fail_task(
                actor=agent,
                task_id=task.pk,
                fence=task.fence,
                code=code,
                message="It went wrong.",
                permanent=True,
            )
        else:
            services.complete_task(actor=agent, task_id=task.pk, fence=task.fence, result={})
        relay.run_once()
        return now(checkup)

    return end_task


@pytest.fixture
def shown():
    """The panel's markup as this person gets it."""

    def get(actor) -> str:
        client = Client()
        client.force_login(actor.user)
        return client.get(PANEL).content.decode()

    return get


def primary(markup: str) -> list[str]:
    return re.findall(r'<button type="button" class="primary" data-act="(\w+)"', markup)


class TestTheBetterWayOn:
    @pytest.mark.parametrize(("code", "is_the_source"), BLOCKED.items())
    def test_is_another_archive_only_where_the_source_is_the_cause(
        self, end, shown, lead, code, is_the_source
    ):
        assert end(code).phase.key == "PHASE_BLOCKED"

        markup = shown(lead)

        assert primary(markup) == (["replace"] if is_the_source else ["retry"])
        assert {"replace", "retry"} <= set(re.findall(r'data-act="(\w+)"', markup))
        assert ("Replace the archive to begin anew" in markup) is is_the_source

    def test_is_another_archive_where_all_was_done_and_too_little_found(self, end, shown, lead):
        assert end().phase.key == "PHASE_BLOCKED"

        assert primary(shown(lead)) == ["replace"]

    def test_is_to_retry_where_a_person_blocked_it(self, checkup, shown, lead):
        services.transition(
            actor=lead, ticket_id=checkup.pk, to_phase="PHASE_BLOCKED", reason="Wait for Ana."
        )

        assert primary(shown(lead)) == ["retry"]


def test_tasks_of_the_source_before_stand_apart_and_count_nowhere(end, shown, lead):
    ticket = end("archive_invalid")
    services.update_ticket(
        actor=lead,
        ticket_id=ticket.pk,
        version=None,
        changes={"context": {"source": archive(lead)}},
    )

    markup, card = shown(lead), cards([ticket.pk])[0]
    now_part, before_part = markup.split("About the source before")

    assert (card["tasks"]["done"], card["tasks"]["total"]) == (0, 1)
    assert "Tasks 0/1" in now_part
    assert "replaced</span>" not in now_part
    assert before_part.count("replaced</span>") == 1
    assert 'data-act="retry-task"' not in before_part


class TestStatus:
    def test_of_a_blocked_ticket_is_blocked(self, end, shown, lead):
        end("archive_invalid")

        assert "<dt>Status</dt><dd>Blocked</dd>" in shown(lead)

    def test_of_a_cancelled_one_is_cancelled_and_nothing_is_stuck(self, end, shown, lead):
        ticket = end("archive_invalid")
        services.cancel_ticket(actor=lead, ticket_id=ticket.pk, reason="not needed")

        markup = shown(lead)

        assert "<dt>Status</dt><dd>Cancelled</dd>" in markup
        assert 'data-state="stuck"' not in markup
        assert panel(now(ticket), lead)["why"].tone == "info"
        board = snapshot(Workflow.objects.get(key="repo_checkup", team=lead.team))
        column = next(c for c in board["columns"] if c["key"] == "blocked")
        assert (column["admitted"] + column["queued"], column["total"]) == (0, 1)
