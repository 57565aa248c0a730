"""The local model gives the published similarities; without its weights it says so."""

import itertools
import math
import shutil
import sys
import threading

import numpy as np
import pytest

from memory import embeddings, minilm
from memory.checks import embedding_provider_is_fit
from memory.embeddings import HashProvider, LocalProvider, packaged_weights, parts_of, provider
from memory.errors import EmbeddingUnavailable


def similarity(left: str, right: str) -> float:
    a, b = provider().embed([left, right])
    return float(a @ b)


class TestLocalModel:
    @pytest.mark.parametrize(
        ("sentence", "published"),
        [
            # The examples on the page of sentence-transformers/all-MiniLM-L6-v2.
            ("That is a happy dog", 0.695),
            ("That is a very happy person", 0.943),
            ("Today is a sunny day", 0.257),
        ],
    )
    def test_gives_the_published_similarity(self, sentence, published):
        assert similarity("That is a happy person", sentence) == pytest.approx(published, abs=1e-3)

    def test_puts_a_paraphrase_near_and_a_stranger_far(self):
        near = similarity("The archive could not be unpacked", "Extracting the tarball failed")
        far = similarity("The archive could not be unpacked", "Our cat enjoys warm milk")

        assert near > 0.5
        assert far < 0.2

    def test_gives_unit_vectors_of_single_precision(self):
        vectors = provider().embed(["one", "two words", "x" * 5000, "", "日本語", "🙂"])

        assert vectors.shape == (6, 384)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_gives_the_same_vector_alone_and_in_a_batch_of_other_lengths(self):
        provider().embed(["warm"])
        alone = LocalProvider().embed(["A short one"])[0]

        batch = LocalProvider().embed(["A short one", "a much longer text " * 30, "b"])

        np.testing.assert_allclose(batch[0], alone, atol=1e-5)

    def test_computes_each_text_once(self, monkeypatch):
        model = LocalProvider()
        model.embed(["kept"])
        monkeypatch.setattr(model._net, "embed", lambda texts: pytest.fail(f"asked for {texts}"))

        assert model.embed(["kept", "kept"]).shape == (2, 384)

    def test_is_loaded_once_by_threads_that_ask_together(self, monkeypatch):
        model = LocalProvider()
        loads = []
        load = model._load

        def counted():
            loads.append(1)
            return load()

        monkeypatch.setattr(model, "_load", counted)

        threads = [threading.Thread(target=model.health) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert loads == [1]

    def test_never_imports_the_package_that_holds_the_weights(self):
        assert provider().health().ok
        assert embeddings.WEIGHTS_PACKAGE not in sys.modules


class TestBrokenWeights:
    def test_a_flipped_byte_takes_the_model_down_with_both_hashes(self, tmp_path):
        folder = packaged_weights()
        data = bytearray((folder / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (tmp_path / "model.safetensors").write_bytes(data)
        shutil.copy(folder / "tokenizer.json", tmp_path)

        health = LocalProvider(folder=tmp_path).health()

        assert not health.ok
        assert embeddings.WEIGHTS_SHA256 in health.reason

    def test_missing_weights_take_the_model_down(self, tmp_path):
        with pytest.raises(EmbeddingUnavailable, match="cannot be loaded"):
            LocalProvider(folder=tmp_path).embed(["anything"])

    def test_a_missing_tokenizer_takes_the_model_down(self, tmp_path):
        (tmp_path / "model.safetensors").symlink_to(packaged_weights() / "model.safetensors")

        assert "tokenizer.json is missing" in LocalProvider(folder=tmp_path).health().reason

    def test_a_missing_package_says_how_to_install_it(self, monkeypatch):
        monkeypatch.setattr(embeddings, "WEIGHTS_PACKAGE", "no_such_package_here")

        assert "requirements-nodeps.txt" in LocalProvider().health().reason


class TestErf:
    def test_stays_within_single_precision_of_the_exact_function(self):
        x = np.linspace(-6, 6, 2001, dtype=np.float32)
        exact = np.array([math.erf(value) for value in x])

        assert np.abs(minilm._erf(x) - exact).max() < 1e-6


class TestParts:
    def test_a_short_text_is_one_part(self):
        assert parts_of("short") == [(0, 0, "short")]

    def test_parts_overlap_and_cover_the_text(self):
        text = "".join(f"word{number} " for number in range(1000))

        parts = parts_of(text)

        assert all(len(part.text) <= 1000 for part in parts)
        for before, after in itertools.pairwise(parts):
            assert before.start + len(before.text) - after.start == 100
            assert text[after.start :].startswith(after.text)
        assert parts[-1].text.endswith("word999 ")

    def test_more_than_64_parts_are_cut_and_said_to_be(self):
        assert len(parts_of("x" * 100_000)) == 64
        assert embeddings.is_truncated("x" * 100_000)
        assert not embeddings.is_truncated("x" * 10_000)


class TestConfiguration:
    def test_the_test_provider_warns_outside_of_tests(self, settings):
        settings.EMBEDDING_PROVIDER = "hash"
        settings.TESTING = False

        assert [found.id for found in embedding_provider_is_fit()] == ["memory.W001"]

    def test_an_unknown_provider_is_an_error(self, settings):
        settings.EMBEDDING_PROVIDER = "crystal-ball"

        assert [found.id for found in embedding_provider_is_fit()] == ["memory.E002"]
        with pytest.raises(EmbeddingUnavailable):
            provider()

    def test_the_test_provider_knows_shared_words_only(self):
        same, other = HashProvider().embed(["red ball", "red BALL"])

        assert float(same @ other) == pytest.approx(1)
