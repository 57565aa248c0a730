"""Somebody answers for a tool: what runs is what was approved, by another than its author."""

import pytest

from guardian.errors import AuthorityTooLow, Forbidden, IllegalTransition, ScopeMissing
from guardian.models import Event
from tests import factories
from tools import services
from tools.errors import SelfApproval, ToolNotFound, ToolQuarantined
from tools.models import Tool, ToolVersion

pytestmark = pytest.mark.usefixtures("tools", "bare_host")


@pytest.fixture
def tool() -> Tool:
    return Tool.objects.get(name="count_lines")


def drift(tool: Tool) -> None:
    Tool.objects.filter(pk=tool.pk).update(memory_mb=tool.memory_mb * 2)


def test_a_drifted_tool_is_approved_as_a_new_revision_and_runs_again(admin, tool):
    drift(tool)
    with pytest.raises(ToolQuarantined):
        services.request_execution(tool=tool.name, actor=admin, input={"text": "a"}, queue=False)

    services.approve_tool(actor=admin, tool_id=tool.pk, reason="The new limit is meant.")

    states = tool.versions.order_by("revision").values_list("status", flat=True)
    assert list(states) == ["superseded", "approved"]
    run = services.request_execution(tool=tool.name, actor=admin, input={"text": "a"}, queue=False)
    assert run.version.approver_id == admin.id
    event = Event.objects.filter(kind="tools.tool.approved").latest("created_at")
    assert event.reason == "The new limit is meant."


def test_what_runs_already_needs_no_approval(admin, tool):
    with pytest.raises(IllegalTransition):
        services.approve_tool(actor=admin, tool_id=tool.pk, reason="again")

    assert tool.versions.count() == 1


def test_nobody_approves_their_own_revision(admin, tool):
    services.withdraw_tool(actor=admin, tool_id=tool.pk, reason="to be sure")
    ToolVersion.objects.filter(tool=tool).update(author=admin.user)

    with pytest.raises(SelfApproval):
        services.approve_tool(actor=admin, tool_id=tool.pk, reason="mine")

    assert Tool.objects.get(pk=tool.pk).status == "quarantined"


def test_an_agent_never_approves(admin, team, tool):
    bot = factories.make_actor(team, "bot", role="agent", kind="agent")
    services.withdraw_tool(actor=admin, tool_id=tool.pk, reason="to be sure")

    with pytest.raises((ScopeMissing, Forbidden)):
        services.approve_tool(actor=bot, tool_id=tool.pk, reason="beep")


def test_a_tool_of_every_team_is_not_one_teams_to_switch(team, tool):
    second = factories.make_actor(team, "bea", role="admin")

    with pytest.raises(AuthorityTooLow):
        services.switch_tool(actor=second, tool_id=tool.pk, on=False, reason="noise")


def test_a_tool_of_another_team_is_not_there(outsider, team, tool):
    Tool.objects.filter(pk=tool.pk).update(team=team)

    with pytest.raises(ToolNotFound):
        services.withdraw_tool(actor=outsider, tool_id=tool.pk, reason="not mine")


def test_a_resting_tool_is_refused_and_used_again_without_a_new_approval(admin, tool):
    services.switch_tool(actor=admin, tool_id=tool.pk, on=False, reason="noise")
    with pytest.raises(IllegalTransition):
        services.switch_tool(actor=admin, tool_id=tool.pk, on=False, reason="noise")

    services.switch_tool(actor=admin, tool_id=tool.pk, on=True, reason="quiet again")

    assert tool.versions.get().status == "approved"
