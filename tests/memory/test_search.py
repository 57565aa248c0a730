"""Search by meaning and by words: hand-computed scores, filters, borders, and a model down."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory import search as engine
from memory import services
from memory.embeddings import provider
from memory.errors import EmbeddingUnavailable, EmptyText
from memory.models import MemoryEmbedding, MemoryRecord
from tests.memory_factories import note, remember


class TestMeaning:
    @pytest.mark.parametrize("mode", ["hybrid", "semantic"])
    def test_finds_a_paraphrase_that_shares_no_word(self, team, agent, lead, mode):
        wanted = remember(
            team, agent, title="Unpack upload", summary="The archive could not be extracted."
        )
        remember(team, agent, title="Paint boat", summary="A blue coat dried overnight.")

        answer = services.search(
            actor=lead, query="decompressing tarball failed", mode=mode, threshold=0.3
        )

        assert [hit.id for hit in answer.results] == [wanted.pk]
        assert answer.results[0].keyword_rank is None
        assert answer.results[0].similarity > 0.4
        assert answer.plan == "exact"
        assert answer.model == "all-MiniLM-L6-v2"
        assert answer.coverage == 1.0
        assert answer.warnings == []

    def test_finds_the_part_of_a_long_text_that_matters(self, agent, lead):
        filler = "Ropes are coiled clockwise on every deck. " * 60
        wanted = note(agent, filler + "The invoice was paid twice by mistake. " * 40 + filler)
        note(agent, filler)

        answer = services.search(
            actor=lead, query="duplicate payment of a bill", mode="semantic", threshold=0.25
        )

        assert answer.results[0].id == wanted.pk


class TestScores:
    def test_are_the_reciprocal_ranks_computed_by_hand(self, agent, lead):
        """Ranks 1…n come from the model and from ts_rank_cd, computed apart from the search."""
        texts = [
            "Failing tests in the parser of numbers",
            "Failing tests: parser tests, tests of tests",
            "The lexer breaks on negative values",
            "A unit check went red in the tokenizer",
            "Broken assertions while reading digits",
            "tests",
        ]
        records = [note(agent, text) for text in texts]
        query = "failing parser tests"
        q = provider().embed([query])[0]
        nearness = {r.pk: float(q @ provider().embed([r.document])[0]) for r in records}
        semantic = [
            pk for pk in sorted(nearness, key=nearness.get, reverse=True) if nearness[pk] >= 0.3
        ]
        with connection.cursor() as cursor:
            # Two rows hold all three words, so top_k = 2 keeps the strict query.
            cursor.execute(
                "SELECT id FROM memory_memoryrecord, websearch_to_tsquery('english', %s) q"
                " WHERE search @@ q ORDER BY ts_rank_cd(search, q) DESC, id",
                [query],
            )
            keyword = [row[0] for row in cursor.fetchall()]
        assert len(keyword) == 2
        assert len(semantic) >= 3
        expected = {
            pk: (0.6 / (60 + semantic.index(pk) + 1) if pk in semantic else 0)
            + (0.4 / (60 + keyword.index(pk) + 1) if pk in keyword else 0)
            for pk in {*semantic, *keyword}
        }

        hits = services.search(actor=lead, query=query, top_k=2).results

        best = sorted(expected, key=lambda pk: (-expected[pk], pk))[:2]
        assert [hit.id for hit in hits] == best
        for hit in hits:
            assert hit.score == pytest.approx(expected[hit.id], abs=1e-9)
            assert hit.similarity == pytest.approx(nearness[hit.id], abs=2e-3)  # half floats

    def test_first_in_both_lists_scores_one_sixty_first(self, agent, lead):
        note(agent, "Anchor chain inspection")

        hit = services.search(actor=lead, query="anchor chain inspection").results[0]

        assert hit.score == pytest.approx(0.6 / 61 + 0.4 / 61, abs=1e-9)

    def test_words_alone_and_meaning_alone_score_their_own_share(self, agent, lead):
        note(agent, "Anchor chain inspection")

        (word,) = services.search(actor=lead, query="anchor", mode="keyword").results
        (near,) = services.search(
            actor=lead, query="anchor chain inspection", mode="semantic"
        ).results

        assert word.score == pytest.approx(0.4 / 61, abs=1e-9)
        assert word.similarity is None
        assert near.score == pytest.approx(0.6 / 61, abs=1e-9)


class TestWords:
    def test_widen_to_any_word_when_too_few_rows_hold_them_all(self, agent, lead):
        one, two = note(agent, "Harbour master"), note(agent, "Lighthouse keeper")

        hits = services.search(
            actor=lead, query="harbour lighthouse", mode="keyword", top_k=2
        ).results

        assert {hit.id for hit in hits} == {one.pk, two.pk}

    def test_an_excluded_word_stays_excluded(self, agent, lead):
        wanted = note(agent, "Harbour master")
        note(agent, "Harbour dredging")

        hits = services.search(actor=lead, query="harbour -dredging", mode="keyword").results

        assert [hit.id for hit in hits] == [wanted.pk]

    @pytest.mark.parametrize(
        "query", ["the of and", "'); DROP TABLE x; --", "!!! & |", "%s %(q)s", "C:\\dir\\x 'a"]
    )
    def test_odd_queries_are_answered(self, agent, lead, query):
        note(agent, "Harbour master")

        assert services.search(actor=lead, query=query, mode="keyword").results == []
        services.search(actor=lead, query=query)

    def test_an_empty_query_is_refused(self, lead):
        with pytest.raises(EmptyText):
            services.search(actor=lead, query="  ")


class TestFilters:
    def test_narrow_the_rows(self, team, agent, lead):
        ticket_id = uuid4()
        good = remember(team, agent, ticket_id=ticket_id)
        bad = remember(team, agent, success=False, task_type="take_inventory")
        other = note(agent, "Run the checks by hand", tags=["manual", "howto"])

        def found(**filters):
            answer = services.search(actor=lead, query="run the checks", filters=filters)
            return {hit.id for hit in answer.results}

        assert found() == {good.pk, bad.pk, other.pk}
        assert found(success=True) == {good.pk}
        assert found(kind=["note"]) == {other.pk}
        assert found(tags=["howto"]) == {other.pk}
        assert found(task_type="take_inventory") == {bad.pk}
        assert found(ticket_id=ticket_id) == {good.pk}
        assert found(owner_id=lead.id) == set()
        assert found(created_from=other.created_at) == {other.pk}
        assert found(created_to=bad.created_at) == {good.pk}

    def test_leave_out_what_is_not_trusted_enough(self, agent, lead):
        weak = note(agent, "Harbour master")

        assert weak.trust == 0.5
        assert services.search(actor=lead, query="harbour", min_trust=0.6).results == []
        assert len(services.search(actor=lead, query="harbour").results) == 1


class TestBorders:
    def test_another_team_finds_nothing(self, agent, outsider):
        note(agent, "Harbour master")

        for mode in ("hybrid", "semantic", "keyword"):
            answer = services.search(actor=outsider, query="Harbour master", mode=mode)
            assert answer.results == []

    def test_private_memories_are_their_owners_alone(self, agent, lead):
        note(agent, "Harbour master", visibility="private")

        assert services.search(actor=lead, query="harbour").results == []
        assert len(services.search(actor=agent, query="harbour").results) == 1

    def test_vectors_of_another_model_are_not_compared(self, agent, lead):
        note(agent, "Harbour master")
        MemoryEmbedding.objects.update(model="some-other-model")

        answer = services.search(actor=lead, query="harbour master")

        assert answer.results[0].similarity is None
        assert answer.coverage == 0.0
        assert answer.warnings == ["embedding_partial"]


class TestModelDown:
    def test_hybrid_goes_on_by_words_and_says_so(self, agent, lead, model_down):
        services.store(actor=agent, text="Harbour master")

        answer = services.search(actor=lead, query="harbour")

        assert len(answer.results) == 1
        assert answer.mode == "keyword"
        assert answer.plan == "keyword"
        assert answer.warnings == ["embedding_unavailable"]

    def test_semantic_is_refused(self, lead, model_down):
        with pytest.raises(EmbeddingUnavailable):
            services.search(actor=lead, query="harbour", mode="semantic")


class TestPlan:
    def test_more_rows_than_the_limit_use_the_index_and_find_the_same(
        self, agent, lead, monkeypatch
    ):
        for text in ("Harbour master", "Lighthouse keeper", "Dry dock", "Customs office"):
            note(agent, text)
        exact = services.search(actor=lead, query="lighthouse", top_k=4, threshold=0)
        monkeypatch.setattr(engine, "EXACT_ROWS", 3)

        with CaptureQueriesContext(
            connection,
        ) as captured:
            by_index = services.search(
                actor=lead, query="lighthouse", top_k=4, threshold=0, deep=True
            )

        assert (exact.plan, by_index.plan) == ("exact", "hnsw")
        assert [hit.id for hit in by_index.results] == [hit.id for hit in exact.results]
        statements = [q["sql"] for q in captured if "SAVEPOINT" not in q["sql"]]
        assert len(statements) == 3
        assert "hnsw.ef_search" in statements[1]

    def test_reading_changes_no_row(self, agent, lead):
        note(agent, "Harbour master")
        before = MemoryRecord.objects.values().get()

        services.search(actor=lead, query="harbour")

        assert MemoryRecord.objects.values().get() == before
