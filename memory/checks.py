"""System checks: the configured embedding provider exists and is fit for real use."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  Django's own name

from memory.embeddings import PROVIDERS


@register()
def embedding_provider_is_fit(**_: Any) -> list[CheckMessage]:
    name = settings.EMBEDDING_PROVIDER
    if name not in PROVIDERS:
        return [
            Error(
                f"EMBEDDING_PROVIDER is {name!r}.",
                hint=f"Use {' or '.join(sorted(PROVIDERS))}.",
                id="memory.E002",
            )
        ]
    if name == "hash" and not settings.TESTING:
        return [
            Warning(
                "EMBEDDING_PROVIDER is 'hash', which is deaf to meaning and meant for tests.",
                hint="Use local.",
                id="memory.W001",
            )
        ]
    return []
