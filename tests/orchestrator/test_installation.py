"""What an installation has before it starts."""

import pytest

from guardian.models import Event
from orchestrator import services
from orchestrator.models import AgentInstance
from phases.models import Task, Ticket

pytestmark = pytest.mark.django_db


class TestBootstrap:
    def test_opens_the_demo_ticket_once_for_lemnos_own_source(self, settings):
        settings.DEMO = True

        services.bootstrap()
        services.bootstrap()

        ticket = Ticket.objects.get()
        assert ticket.context == {"source": {"kind": "self"}}
        assert Task.objects.get(ticket=ticket).required_capabilities == ["inventory"]
        assert AgentInstance.objects.count() == 3

    def test_a_lowered_floor_for_uploaded_code_is_recorded_at_each_start(self, settings):
        settings.UNTRUSTED_LEVEL = "bwrap+"

        services.bootstrap()

        event = Event.objects.get(kind="tools.isolation.floor_lowered")
        assert event.data == {"level": "bwrap+"}

    def test_without_demo_there_is_no_ticket(self, settings):
        settings.DEMO = False

        services.bootstrap()

        assert not Ticket.objects.exists()
