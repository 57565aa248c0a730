"""Many changes in one request: each told by itself, and undone by itself or all together.

Whoever calls `in_bulk` first locks all rows it is about, in the order of their ids: then two
batches of the same rows in another order wait for one another instead of standing in a circle.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from guardian.errors import DomainError

MOST = 100


class BatchRefused(DomainError):
    """Nothing was changed, because not all of the batch could be: `results` says which."""

    code = "conflict"
    remedy = "Correct what is refused, or send it without all_or_nothing."
    example = {
        "results": [
            {
                "id": "01932b7a-6c1e-7d3f-9a51-3f7f2f1c0e5d",
                "ok": False,
                "status": 412,
                "code": "stale_version",
                "detail": "This was changed since you read it.",
                "current_etag": '"v4"',
            }
        ]
    }


class Undone(DomainError):
    """It could be done, and was undone, because another of the batch was refused."""

    code = "conflict"
    remedy = "Correct what else is refused, then send the batch again."


Work = Callable[[], Mapping[str, Any]]


@transaction.atomic
def in_bulk(items: Iterable[tuple[UUID, Work]], *, all_or_nothing: bool) -> list[dict[str, Any]]:
    """Each item's work in a savepoint of its own: [{id, ok, status, code?, detail?, …}], as asked.

    A refusal undoes its item alone and is told under the members its problem has; what the work
    returns is told of one that went well. Raises BatchRefused, with `all_or_nothing`, where one
    of them is refused: then the transaction is undone.
    """
    results = [_one(pk, work) for pk, work in items]
    if all_or_nothing and not all(result["ok"] for result in results):
        raise BatchRefused(results=[_refusal(r["id"], Undone()) if r["ok"] else r for r in results])
    return results


def _one(pk: UUID, work: Work) -> dict[str, Any]:
    try:
        with transaction.atomic():
            return {"id": str(pk), "ok": True, "status": 200, **work()}
    except DomainError as refusal:
        return _refusal(str(pk), refusal)


def _refusal(pk: str, refusal: DomainError) -> dict[str, Any]:
    return {
        **refusal.data,
        "id": pk,
        "ok": False,
        "status": refusal.status,
        "code": refusal.code,
        "detail": refusal.detail,
    }
