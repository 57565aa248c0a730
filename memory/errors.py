"""What memory refuses, and why."""

from guardian.errors import DomainError, Invalid, NotFound


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


class EmbeddingUnavailable(DomainError):
    """The embedding model cannot be used right now, so nothing can be found by meaning."""

    code = "embedding_unavailable"
    status = 503
    retry_after = 60
    permanent = False
    remedy = "Search with mode hybrid or keyword, or repair the model: see GET /memory/status."
