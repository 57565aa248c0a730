"""A model that is down, for real: its weights are not where it looks for them."""

import pytest

from memory import embeddings


@pytest.fixture
def model_down(monkeypatch, tmp_path):
    monkeypatch.setitem(embeddings._instances, "local", embeddings.LocalProvider(folder=tmp_path))
