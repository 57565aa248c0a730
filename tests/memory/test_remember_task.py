"""A task's end is remembered exactly once per run, and its vector follows by a job."""

import threading
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from procrastinate.contrib.django.models import ProcrastinateJob

from guardian.models import Event
from memory import jobs, services
from memory.errors import IllegalRecordState, RecordNotFound
from memory.models import MemoryEmbedding, MemoryRecord
from tests import factories
from tests.memory_factories import note, remember


def told(team, owner, **facts):
    return {
        "team_id": team.pk,
        "owner_id": owner.id,
        "task_id": uuid4(),
        "run_id": uuid4(),
        "ticket_id": uuid4(),
        "phase_id": uuid4(),
        "task_type": "run_checks",
        "title": "Run the checks of calc 1.0",
        "summary": "3 of 12 tests failed. The parser rejects negative numbers.",
        "success": False,
        "error_patterns": [{"type": "AssertionError", "message": "expected -1 at line 17"}],
        "evidence": [{"label": "tools.toolexecution", "id": str(uuid4()), "sha256": "0" * 64}],
        **facts,
    }


def jobs_of(record):
    """Its embedding jobs; those of committed tests stay in procrastinate's tables."""
    return list(
        ProcrastinateJob.objects.filter(
            task_name="memory.embed_records", args__record_id=str(record.pk)
        )
    )


class TestRememberTask:
    def test_keeps_what_happened_with_its_provenance(self, team, agent):
        facts = told(team, agent)

        record = services.remember_task(**facts)

        assert record.kind == "task"
        assert record.state == "active"
        assert record.trust == 0.8
        assert record.task_id == facts["task_id"]
        assert record.run_id == facts["run_id"]
        assert record.ticket_id == facts["ticket_id"]
        assert record.phase_id == facts["phase_id"]
        assert record.evidence == facts["evidence"]
        assert record.error_patterns[0]["message"] == "expected -1 at line 17"
        assert len(record.error_patterns[0]["fingerprint"]) == 16
        assert Event.objects.get(kind="memory.record.stored").subject_id == str(record.pk)

    def test_defers_the_embedding_in_the_same_transaction(self, team, agent):
        record = services.remember_task(**told(team, agent))

        (job,) = jobs_of(record)
        assert job.queue_name == "memory"
        assert job.args["record_id"] == str(record.pk)
        assert record.embedding_state == "pending"

    @pytest.mark.parametrize("run_id", [None, uuid4()])
    def test_told_twice_it_stays_one_record_one_event_one_job(self, team, agent, run_id):
        facts = told(team, agent, run_id=run_id)
        first = services.remember_task(**facts)

        again = services.remember_task(**{**facts, "summary": "Something else."})

        assert again.pk == first.pk
        assert again.summary == first.summary
        assert MemoryRecord.objects.count() == 1
        assert Event.objects.filter(kind="memory.record.stored").count() == 1
        assert len(jobs_of(first)) == 1

    def test_another_run_of_the_task_is_another_memory(self, team, agent):
        facts = told(team, agent)
        services.remember_task(**facts)

        services.remember_task(**{**facts, "run_id": uuid4()})

        assert MemoryRecord.objects.filter(task_id=facts["task_id"]).count() == 2

    def test_a_silent_task_is_remembered_by_title_and_outcome(self, team, agent):
        record = services.remember_task(**told(team, agent, summary="", success=True))

        assert record.text == "Run the checks of calc 1.0: succeeded, without a summary."

    def test_long_summaries_are_cut_and_secrets_masked(self, team, agent):
        summary = "postgres://u:hunter2@db/x " + "word " * 1000

        record = services.remember_task(**told(team, agent, summary=summary))

        assert len(record.text) <= 2000
        assert len(record.summary) <= 200
        assert "hunter2" not in record.text + record.summary

    def test_equal_errors_with_other_numbers_have_one_fingerprint(self, team, agent):
        patterns = [
            {"type": "TimeoutError", "message": "after 31 s in 0xdeadbeef"},
            {"type": "TimeoutError", "message": "after 7 s in 0xcafe1234"},
        ]

        record = services.remember_task(**told(team, agent, error_patterns=patterns))

        assert len(record.error_patterns) == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
class TestRace:
    def test_two_deliveries_at_once_leave_exactly_one_record(self):
        team = factories.make_team("race")
        agent = factories.make_actor(team, "racer", role="agent", kind="agent")
        facts = told(team, agent)
        start = threading.Barrier(4)
        found = []

        def deliver():
            try:
                start.wait()
                found.append(services.remember_task(**facts).pk)
            finally:
                connection.close()

        threads = [threading.Thread(target=deliver) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(found) == 4
        assert len(set(found)) == 1
        assert MemoryRecord.objects.count() == 1
        assert Event.objects.filter(kind="memory.record.stored").count() == 1

    def test_the_second_delivery_waits_for_the_first_and_returns_its_record(self):
        team = factories.make_team("race")
        agent = factories.make_actor(team, "racer", role="agent", kind="agent")
        facts = told(team, agent)
        found = []

        def deliver():
            try:
                found.append(services.remember_task(**facts).pk)
            finally:
                connection.close()

        with transaction.atomic():
            first = services.remember_task(**facts)
            second = threading.Thread(target=deliver)
            second.start()
        second.join()

        assert found == [first.pk]

    def test_two_jobs_on_one_record_leave_one_vector(self):
        team = factories.make_team("race")
        agent = factories.make_actor(team, "racer", role="agent", kind="agent")
        record = services.remember_task(**told(team, agent))
        start = threading.Barrier(2)

        def embed():
            try:
                start.wait()
                jobs.embed_records(record_id=str(record.pk))
            finally:
                connection.close()

        threads = [threading.Thread(target=embed) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert MemoryEmbedding.objects.count() == 1
        assert MemoryRecord.objects.get().embedding_state == "ready"

    def test_the_model_works_outside_of_any_transaction(self, monkeypatch):
        from memory import embeddings

        team = factories.make_team("race")
        agent = factories.make_actor(team, "racer", role="agent", kind="agent")
        record = services.remember_task(**told(team, agent))
        model = embeddings.provider()
        embed, seen = model.embed, []

        def watched(texts):
            seen.append(connection.in_atomic_block)
            return embed(texts)

        monkeypatch.setattr(model, "embed", watched)

        jobs.embed_records(record_id=str(record.pk))

        assert seen == [False]


class TestEmbedding:
    def test_a_job_embeds_its_record_and_those_that_wait_beside_it(self, team, agent):
        first = services.remember_task(**told(team, agent))
        services.remember_task(**told(team, agent))

        assert jobs.embed_records(record_id=str(first.pk)) == 2
        assert jobs.embed_records(record_id=str(first.pk)) == 0
        assert MemoryRecord.objects.filter(embedding_state="ready").count() == 2

    def test_long_texts_have_a_vector_for_each_part(self, agent):
        record = note(agent, "The quay is long. " * 200)

        parts = list(MemoryEmbedding.objects.filter(record=record).order_by("part_no"))

        assert [part.part_no for part in parts] == [0, 1, 2, 3]
        assert parts[-1].start + parts[-1].length == len(record.document)
        assert all(part.model == "all-MiniLM-L6-v2" for part in parts)

    def test_equal_text_in_a_team_is_embedded_once(self, team, agent, monkeypatch):
        from memory import embeddings

        first = remember(team, agent)
        monkeypatch.setattr(
            embeddings.provider(), "embed", lambda texts: pytest.fail(f"asked for {texts}")
        )

        second = remember(team, agent)

        vectors = MemoryEmbedding.objects.filter(record__in=[first, second])
        assert len({tuple(vector.v384) for vector in vectors}) == 1
        assert vectors.count() == 2

    def test_a_model_that_is_down_loses_nothing(self, team, agent, model_down, monkeypatch):
        from memory import embeddings
        from memory.errors import EmbeddingUnavailable

        record = services.remember_task(**told(team, agent))
        with pytest.raises(EmbeddingUnavailable):
            jobs.embed_records(record_id=str(record.pk))
        assert MemoryRecord.objects.get().embedding_state == "pending"

        monkeypatch.setitem(embeddings._instances, "local", embeddings.LocalProvider())
        assert jobs.sweep_unembedded(timestamp=0) == 1


class TestLife:
    def test_the_database_refuses_other_edges_edits_and_starts(self, team, agent):
        record = remember(team, agent)
        rows = MemoryRecord.objects.filter(pk=record.pk)

        for change in ({"state": "quarantined"}, {"text": "rewritten"}, {"trust": 2}):
            with pytest.raises(DatabaseError), transaction.atomic():
                rows.update(**change)
        with pytest.raises(DatabaseError), transaction.atomic():
            MemoryRecord(
                team=team, owner=agent.user, title="x", text="x", trust=1, state="revoked"
            ).save()

    def test_a_revoked_memory_is_found_no_more_and_names_its_runs(self, team, agent, lead):
        record = remember(team, agent)
        run_id = uuid4()
        services.record_uses(
            team_id=team.pk, run_id=run_id, task_id=uuid4(), record_ids=[record.pk]
        )

        services.revoke_record(actor=lead, record_id=record.pk, reason="wrong")

        assert services.search(actor=lead, query="checks").results == []
        event = Event.objects.get(kind="memory.record.revoked")
        assert event.data["runs"] == [str(run_id)]
        with pytest.raises(IllegalRecordState):
            services.revoke_record(actor=lead, record_id=record.pk, reason="again")

    def test_an_outsider_cannot_revoke(self, team, agent, outsider):
        record = remember(team, agent)

        with pytest.raises(RecordNotFound):
            services.revoke_record(actor=outsider, record_id=record.pk, reason="mine now")

    def test_a_person_approves_what_was_quarantined(self, team, agent, lead):
        record = MemoryRecord(
            team=team, owner=agent.user, title="x", text="x", trust=0.4, state="quarantined"
        )
        record.save()

        services.approve_record(actor=lead, record_id=record.pk, reason="checked")

        assert MemoryRecord.objects.get().state == "active"
        assert MemoryRecord.objects.get().trust == 0.8
