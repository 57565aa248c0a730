"""What memory refuses, and why."""

from guardian.errors import DomainError, Invalid, NotFound, Unavailable


class EmptyText(Invalid):
    """There is no text to remember or to look for."""

    code = "empty_text"
    remedy = "Give a text of at least one word."


class RecordNotFound(NotFound):
    """There is no such memory here."""


class IllegalRecordState(DomainError):
    """This memory is not in a state from which that is possible."""

    code = "illegal_transition"
    remedy = "Read it again: somebody may have decided already."


class EmbeddingUnavailable(Unavailable):
    """The embedding model cannot be used right now, so nothing can be found by meaning."""

    code = "embedding_unavailable"
    retry_after = 60
    remedy = (
        "Search with mode hybrid or keyword, or repair the model: see GET /api/v1/memory/status."
    )
