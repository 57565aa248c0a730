"""Store, read and delete files; the bytes are chunks in PostgreSQL, shared by content."""

import hashlib
import mimetypes
import re
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Sum

from guardian.authority import Actor
from guardian.errors import Forbidden
from guardian.outbox import emit
from tools import events
from tools.errors import ArtifactQuota, EmptyFile, FileMissing, FileTooLarge
from tools.models import FileChunk, ToolArtifact, ToolExecution
from tools.models.artifact import CHUNK_BYTES, MAX_FILE_BYTES, TEAM_QUOTA_BYTES

MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,49}/[a-z0-9][a-z0-9!#$&^_.+-]{0,49}\Z")


def clean_name(name: str) -> str:
    """The last part of the given name, printable, at most 255 characters."""
    last = re.split(r"[/\\]", name)[-1]
    text = "".join(c for c in last if c.isprintable()).strip()[:255]
    return text or "file"


def clean_media_type(media_type: str, name: str) -> str:
    given = media_type.split(";", maxsplit=1)[0].strip().lower()
    if MEDIA_TYPE.match(given) and given != "application/octet-stream":
        return given
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _lock_content(sha256: str) -> None:
    """Serialise storing and deleting of one content: the last deletion takes the bytes along."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 34))", [sha256])


@transaction.atomic
def store_file(
    *,
    actor: Actor,
    name: str,
    content: bytes,
    media_type: str = "",
    execution: ToolExecution | None = None,
) -> tuple[ToolArtifact, bool]:
    """Keep the bytes under the team; (file, True if it is new). At most 20 MiB each.

    Raises EmptyFile, FileTooLarge, ArtifactQuota.
    """
    if not content and execution is None:
        raise EmptyFile("The file is empty.", path="file", reason="is empty")
    if len(content) > MAX_FILE_BYTES:
        raise FileTooLarge(limit_bytes=MAX_FILE_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 35))", [str(actor.team_id)]
        )
    _lock_content(digest)
    rows = ToolArtifact.objects.for_team(actor.team_id)
    if execution is None:
        known = rows.filter(sha256=digest, execution=None).first()
        if known is not None:
            return known, False
    used = rows.aggregate(used=Sum("size"))["used"] or 0
    if used + len(content) > TEAM_QUOTA_BYTES:
        raise ArtifactQuota(limit_bytes=TEAM_QUOTA_BYTES, used_bytes=used)
    if not FileChunk.objects.filter(sha256=digest).exists():
        pieces = range(0, len(content), CHUNK_BYTES)
        FileChunk.objects.bulk_create(
            FileChunk(sha256=digest, seq=seq, data=content[start : start + CHUNK_BYTES])
            for seq, start in enumerate(pieces)
        )
    name = clean_name(name)
    artifact = ToolArtifact.objects.create(
        team_id=actor.team_id,
        execution=execution,
        name=name,
        media_type=clean_media_type(media_type, name),
        size=len(content),
        sha256=digest,
        created_by=actor.user,
    )
    emit(
        events.FILE_STORED,
        subject=artifact,
        actor=actor,
        name=artifact.name,
        size=artifact.size,
        sha256=digest,
    )
    return artifact, True


def file_row(*, team_id: UUID, file_id: UUID | str) -> ToolArtifact:
    """The file's row. Raises FileMissing, also for another team's file and a malformed id."""
    try:
        wanted = UUID(str(file_id))
    except ValueError:
        raise FileMissing(file_id=str(file_id)) from None
    row = ToolArtifact.objects.for_team(team_id).filter(pk=wanted).first()
    if not isinstance(row, ToolArtifact):
        raise FileMissing(file_id=str(file_id))
    return row


def open_file(*, team_id: UUID, file_id: UUID | str) -> tuple[ToolArtifact, bytes]:
    """(row, bytes) of a team's file. Raises FileMissing."""
    artifact = file_row(team_id=team_id, file_id=file_id)
    chunks = FileChunk.objects.filter(sha256=artifact.sha256).order_by("seq")
    content = b"".join(bytes(data) for data in chunks.values_list("data", flat=True))
    if len(content) != artifact.size:
        raise FileMissing(file_id=str(file_id))
    return artifact, content


@transaction.atomic
def delete_file(*, actor: Actor, file_id: UUID) -> None:
    """Remove a file; its bytes go with the last row that names them.

    Allowed to its uploader and to admins, also while a ticket uses it.
    Raises FileMissing, Forbidden.
    """
    artifact = file_row(team_id=actor.team_id, file_id=file_id)
    if artifact.created_by_id != actor.id and actor.role != "admin":
        raise Forbidden("Only the uploader or an admin may delete this file.")
    _lock_content(artifact.sha256)
    emit(
        events.FILE_DELETED,
        subject=artifact,
        actor=actor,
        name=artifact.name,
        sha256=artifact.sha256,
    )
    digest = artifact.sha256
    artifact.delete()
    if not ToolArtifact.objects.filter(sha256=digest).exists():
        FileChunk.objects.filter(sha256=digest).delete()
