"""Sources: what a checkup may look at, checked when a ticket is opened and again when it is used.

Phases carries `context.source` without knowing what it means; tools knows files, not tickets.
"""

from typing import Any, Literal
from uuid import UUID

from guardian.authority import Actor
from orchestrator.errors import SourceInvalid
from phases.context import context_kind
from tools import services as tools
from tools.errors import FileMissing

Origin = Literal["upload", "self"]

# Kind -> the fields it has beside `kind`. Only what can be opened here: a git source is one of the
# specified kinds, and needs a data provider that this installation does not have.
KINDS: dict[str, tuple[str, ...]] = {"archive": ("file_id",), "self": ()}
PATH = "context.source"


def resolve(*, team_id: UUID, source: Any, path: str = PATH) -> tuple[dict[str, str], Origin]:
    """A ticket's source as a tool's input and its origin: (input, origin).

    Raises SourceInvalid with the field that is wrong, FileMissing.
    """
    kind = _kind(source, path)
    for name in source:
        if name != "kind" and name not in KINDS[kind]:
            raise source_invalid(f"{path}.{name}", f"is unknown for kind {kind}")
    if kind == "self":
        return {}, "self"
    file_id = source.get("file_id")
    if not isinstance(file_id, str) or not _is_uuid(file_id):
        raise source_invalid(
            f"{path}.file_id", "must be the id of an uploaded file (POST /api/v1/files)"
        )
    tools.file_row(team_id=team_id, file_id=file_id)
    return {"archive_id": file_id}, "upload"


def _kind(source: Any, path: str) -> str:
    if source is None:
        raise source_invalid(path, "is missing")
    if not isinstance(source, dict):
        raise source_invalid(path, 'must be an object such as {"kind": "archive", "file_id": "…"}')
    kind = source.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise source_invalid(f"{path}.kind", f"must be {' or '.join(KINDS)}")
    return kind


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def source_invalid(path: str, reason: str, **data: Any) -> SourceInvalid:
    """One sentence for the card, and the field for programs."""
    return SourceInvalid(
        f"The ticket names no source that can be opened: {path} {reason}.",
        path=path,
        reason=reason,
        **data,
    )


@context_kind("repository")
def check_source(actor: Actor, path: str, value: Any) -> None:
    """Refuse what a checkup could not open right now; a file deleted later blocks the ticket."""
    try:
        resolve(team_id=actor.team_id, source=value, path=path)
    except FileMissing as missing:
        raise source_invalid(
            f"{path}.file_id",
            "names no file of this team, or one that was deleted",
            remedy=missing.remedy_text,
        ) from missing
