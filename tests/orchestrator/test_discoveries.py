"""D-3: one memory of each discovery; and how alike tasks are, by what memory knows of meaning."""

import pytest

from guardian.models import Event
from memory.models import MemoryRecord
from orchestrator import likeness, receivers
from phases import likeness as port
from phases import services


@pytest.fixture
def source(team, lead, agent):
    services.seed_team(team=team)
    services.open_ticket(actor=lead, title="Ship", workflow="software_development")
    return services.claim_tasks(actor=agent, capabilities=["analysis"])[0].task


def record(agent, source, description="It leaks at the stern", **fields):
    return services.record_discovery(
        actor=agent,
        source_task=source.pk,
        discovery_type="security_issue",
        description=description,
        **fields,
    )


def told():
    return Event.objects.filter(kind="phases.discovery.recorded").order_by("id")


class TestMemory:
    def test_keeps_one_record_also_after_a_replay(self, agent, source):
        found, _ = record(agent, source)

        receivers.remember_discovery(told().get())
        receivers.remember_discovery(told().get())

        kept = MemoryRecord.objects.get(kind="discovery")
        assert kept.owner_id == agent.id
        assert kept.title.startswith("Security issue: It leaks at the stern")
        assert "Analyse the requirements" in kept.text
        assert kept.tags == ["security_issue"]
        assert (kept.ticket_id, kept.task_id, kept.phase_id) == (
            source.ticket_id,
            source.pk,
            source.phase_id,
        )
        assert kept.metadata == {"discovery_id": str(found.pk)}
        assert kept.embedding_state == "pending"

    def test_a_revoked_one_does_not_come_back(self, agent, source):
        from memory import services as memory

        record(agent, source)
        receivers.remember_discovery(told().get())
        memory.revoke_record(
            actor=agent, record_id=MemoryRecord.objects.get(kind="discovery").pk, reason="wrong"
        )

        receivers.remember_discovery(told().get())

        assert MemoryRecord.objects.get(kind="discovery").state == "revoked"

    def test_each_discovery_has_its_own(self, agent, source):
        record(agent, source)
        record(agent, source, "The mast is too long")

        for event in told():
            receivers.remember_discovery(event)

        assert MemoryRecord.objects.filter(kind="discovery").count() == 2


class TestLikeness:
    @pytest.fixture(autouse=True)
    def words(self, settings, monkeypatch):
        """Alike where words are shared."""
        settings.EMBEDDING_PROVIDER = "hash"
        monkeypatch.setattr(port, "_measures", [likeness.by_meaning])

    def test_is_measured_by_the_vectors_of_memory(self):
        [[same, turned, other]] = port.likeness(
            ["plug the leak"], ["Plug the leak", "the leak: plug", "paint a mast"]
        )

        assert same == 1.0
        assert 0.5 < turned < 0.92
        assert other < 0.5

    def test_long_texts_are_compared_as_a_whole(self):
        start = "one long beginning " * 100
        [[same, other]] = port.likeness(
            [f"{start} {'alpha ' * 500}"], [f"{start} {'alpha ' * 500}", f"{start} {'beta ' * 500}"]
        )

        assert same == 1.0
        assert other < 0.92

    def test_finds_copies_in_other_words(self, agent, source):
        _, [first] = record(agent, source, spawn=[services.Spawn("fix", "Plug the leak at stern")])
        _, [second] = record(agent, source, spawn=[services.Spawn("fix", "At stern plug the leak")])

        assert (second.status, second.duplicate_of_id) == ("duplicated", first.pk)

    def test_without_a_model_only_equal_texts_are_alike(self, settings):
        settings.EMBEDDING_PROVIDER = "none"

        assert port.likeness(["Plug it"], ["plug  it", "plug it now"]) == [[1.0, 0.0]]
