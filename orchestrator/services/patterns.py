"""Patterns: registered as drafts, published for good, deprecated when something better is there."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from guardian.authority import Actor
from guardian.errors import IllegalTransition
from guardian.outbox import emit
from orchestrator import events, pattern_schema
from orchestrator.agent_schema import precedence
from orchestrator.errors import PatternFrozen, PatternNotFound, ShippedPattern
from orchestrator.models import ExecutionPattern

log = structlog.get_logger(__name__)

SHIPPED_DIRECTORY = settings.BASE_DIR / "templates" / "patterns"


def read_pattern(text: str) -> tuple[dict[str, Any], str]:
    """The normal form of a pattern file and its hash; writes nothing. Raises PatternInvalid."""
    normal = pattern_schema.normalise(pattern_schema.read(text))
    return normal, pattern_schema.digest(normal)


@transaction.atomic
def register_pattern(*, text: str, actor: Actor) -> tuple[ExecutionPattern, bool]:
    """Store a pattern file as the team's draft; True if it is new.

    A draft of the same version is replaced; a published one with the same content is answered.
    Raises PatternInvalid, PatternFrozen.
    """
    return _store(text=text, team_id=actor.team_id, actor=actor)


def _store(
    *, text: str, team_id: UUID | None, actor: Actor | None
) -> tuple[ExecutionPattern, bool]:
    normal, content_hash = read_pattern(text)
    owner = Q(team_id=team_id) if team_id else Q(team=None)
    rows = ExecutionPattern.objects.select_for_update().filter(
        owner, slug=normal["id"], version=normal["version"]
    )
    pattern = rows.first()
    new = pattern is None
    if pattern is None:
        pattern = ExecutionPattern(team_id=team_id, slug=normal["id"], version=normal["version"])
    elif pattern.content_hash == content_hash:
        return pattern, False
    elif pattern.state != ExecutionPattern.State.DRAFT:
        raise PatternFrozen(pattern=pattern.slug, version=pattern.version, state=pattern.state)
    else:
        pattern.revision += 1
    pattern.name, pattern.source = normal["name"], text
    pattern.normal, pattern.content_hash = normal, content_hash
    pattern.save()
    _tell(events.PATTERN_REGISTERED, pattern, actor)
    return pattern, new


def _tell(kind: str, pattern: ExecutionPattern, actor: Actor | None, *, reason: str = "") -> None:
    emit(
        kind,
        subject=pattern,
        actor=actor,
        reason=reason,
        slug=pattern.slug,
        version=pattern.version,
        content_hash=pattern.content_hash,
    )


@transaction.atomic
def publish_pattern(
    *, slug: str, version: str | None, actor: Actor, reason: str = ""
) -> ExecutionPattern:
    """Let runs start from a draft, after one more look at it; without version the newest draft.

    Raises PatternNotFound, IllegalTransition, PatternInvalid (a capability is gone).
    """
    pattern = _own(slug=slug, version=version, state="draft", actor=actor)
    if pattern.state != ExecutionPattern.State.DRAFT:
        raise IllegalTransition(f"This version is {pattern.state} already.", allowed=[])
    pattern_schema.normalise(pattern_schema.read(pattern.source))
    pattern.publish()
    pattern.revision += 1
    pattern.save(update_fields=["state", "revision", "updated_at"])
    _tell(events.PATTERN_PUBLISHED, pattern, actor, reason=reason)
    return pattern


@transaction.atomic
def deprecate_pattern(
    *, slug: str, version: str | None, actor: Actor, reason: str = ""
) -> ExecutionPattern:
    """No new run starts from it; running ones end. Raises PatternNotFound, IllegalTransition."""
    pattern = _own(slug=slug, version=version, state="published", actor=actor)
    if pattern.state != ExecutionPattern.State.PUBLISHED:
        raise IllegalTransition(f"Only a published version can be deprecated, not {pattern.state}.")
    pattern.deprecate()
    pattern.revision += 1
    pattern.save(update_fields=["state", "revision", "updated_at"])
    _tell(events.PATTERN_DEPRECATED, pattern, actor, reason=reason)
    return pattern


def _own(*, slug: str, version: str | None, state: str, actor: Actor) -> ExecutionPattern:
    """The team's version, locked; without version the newest in this state, else the newest."""
    rows = ExecutionPattern.objects.select_for_update().filter(team_id=actor.team_id, slug=slug)
    found = list(rows.filter(version=version) if version else rows)
    pattern = newest([row for row in found if row.state == state]) or newest(found)
    if pattern is None:
        if ExecutionPattern.objects.filter(team=None, slug=slug).exists():
            raise ShippedPattern(pattern=slug)
        raise PatternNotFound(pattern=slug, version=version or "")
    return pattern


def newest(patterns: Iterable[ExecutionPattern]) -> ExecutionPattern | None:
    """The highest semantic version."""
    return max(patterns, key=lambda row: precedence(row.version), default=None)


def find_pattern(
    *, team_id: UUID, slug: str, version: str | None = None, published: bool = True
) -> ExecutionPattern:
    """The highest version of a slug, the team's own before the shipped. Raises PatternNotFound."""
    rows = ExecutionPattern.objects.visible_to(team_id).filter(slug=slug)
    if version:
        rows = rows.filter(version=version)
    if published:
        rows = rows.published()
    found = list(rows)
    own = [row for row in found if row.team_id is not None]
    pattern = newest(own or found)
    if pattern is None:
        raise PatternNotFound(pattern=slug, version=version or "")
    return pattern


def pattern_versions(*, team_id: UUID, slug: str) -> list[ExecutionPattern]:
    """Every version of a slug, own and shipped, the highest first. Raises PatternNotFound."""
    found = ExecutionPattern.objects.visible_to(team_id).filter(slug=slug)
    if not found:
        raise PatternNotFound("There is no such pattern here.", pattern=slug)
    return sorted(found, key=lambda row: precedence(row.version), reverse=True)


def shown_pattern(*, team_id: UUID, slug: str, version: str | None = None) -> ExecutionPattern:
    """The version asked for, else the newest published, else the newest there is.

    Raises PatternNotFound.
    """
    if version is None:
        try:
            return find_pattern(team_id=team_id, slug=slug)
        except PatternNotFound:
            pass  # nothing published yet: show the draft
    try:
        return find_pattern(team_id=team_id, slug=slug, version=version, published=False)
    except PatternNotFound as error:
        raise PatternNotFound("There is no such pattern here.", pattern=slug) from error


@transaction.atomic
def seed_patterns(*, directory: Path = SHIPPED_DIRECTORY, strict: bool = True) -> int:
    """Store and publish the shipped patterns; again, it changes nothing. Returns how many are new.

    Raises PatternInvalid; PatternFrozen when a file changed under a version already published.
    Not `strict`, the published one is kept and the log says so: a mistake in shipping must not
    keep an installation from starting.
    """
    count = 0
    for path in sorted(directory.glob("*.json")):
        try:
            pattern, new = _store(text=path.read_text("utf-8"), team_id=None, actor=None)
        except PatternFrozen as frozen:
            if strict:
                raise
            log.warning("shipped_pattern_needs_a_new_version", file=path.name, **frozen.data)
            continue
        if pattern.state == ExecutionPattern.State.DRAFT:
            pattern.publish()
            pattern.save(update_fields=["state", "updated_at"])
            _tell(events.PATTERN_PUBLISHED, pattern, None)
        count += new
    return count
