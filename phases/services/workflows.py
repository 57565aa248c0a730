"""Workflows come from YAML; the shipped ones are put into each new team once."""

from functools import cache
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import transaction

from guardian.authority import Actor
from guardian.errors import Invalid
from guardian.models import Team
from guardian.outbox import emit
from phases import events
from phases.context import known_kinds
from phases.errors import WorkflowChanged, WorkflowConflict
from phases.models import Workflow
from phases.services.workflow_edits import faults_of, lock_columns, lock_key, settle, uses_of
from phases.services.workflow_rows import write_rows
from phases.workflow_diff import Plan, plan
from phases.workflow_document import Document, canonical, document_of, dump
from phases.workflow_yaml import WorkflowSpec, read

SHIPPED = ("default", "software_development", "repo_checkup")
# An event names so many paths of each list; the numbers are of all.
NAMED = 50


@cache
def _shipped(key: str) -> WorkflowSpec:
    path = Path(settings.BASE_DIR) / "templates" / "workflows" / f"{key}.yaml"
    return read(path.read_text("utf-8"))


@transaction.atomic
def seed_team(*, team: Team) -> list[Workflow]:
    """The shipped workflows, where the team does not have them yet. Edits survive."""
    known = set(Workflow.objects.filter(team=team, key__in=SHIPPED).values_list("key", flat=True))
    return [
        import_workflow(team=team, spec=_shipped(key), is_default=key == "default")
        for key in SHIPPED
        if key not in known
    ]


@transaction.atomic
def import_workflow(*, team: Team, spec: WorkflowSpec, is_default: bool = False) -> Workflow:
    """Write a new workflow from its checked form. Raises Invalid for an unknown kind of context."""
    _check_kinds(spec)
    return write_rows(team=team, document=canonical(spec), is_default=is_default)


def import_file(
    *,
    actor: Actor,
    text: str,
    dry_run: bool = False,
    overwrite: bool = False,
    expect_digest: str | None = None,
    reason: str = "",
) -> Plan:
    """Make a workflow of a YAML text, or let it change the one of its key; all or nothing.

    Without `overwrite` what is there stays, and only what is missing is made. Phases that tickets
    need stay always. `expect_digest` is that of a dry run: anything else than what it showed is
    refused. Raises YamlInvalid, Invalid, WorkflowConflict, WorkflowChanged.
    """
    spec = read(text)
    _check_kinds(spec)
    return _import(
        actor=actor,
        wanted=canonical(spec),
        dry_run=dry_run,
        overwrite=overwrite,
        expect_digest=expect_digest,
        reason=reason,
    )


@transaction.atomic
def _import(
    *,
    actor: Actor,
    wanted: Document,
    dry_run: bool,
    overwrite: bool,
    expect_digest: str | None,
    reason: str,
) -> Plan:
    if not dry_run:
        lock_key(team_id=actor.team_id, key=wanted["key"])
    rows = Workflow.objects.filter(team=actor.team, key=wanted["key"])
    flow = (rows if dry_run else rows.select_for_update(no_key=True)).first()
    if flow is not None and not dry_run:
        lock_columns(flow)
    current = document_of(flow) if flow else None
    made = plan(current, wanted, overwrite=overwrite, uses=uses_of(flow) if flow else {})
    if expect_digest is not None and expect_digest != made.digest:
        raise WorkflowChanged(digest=made.digest)
    _check_whole(made, current)
    if dry_run or not made.changes_something:
        return made
    flow = write_rows(team=actor.team, document=made.document)
    settle(flow=flow, before=current, after=made.document)
    emit(
        events.WORKFLOW_IMPORTED,
        subject=flow,
        actor=actor,
        reason=reason,
        workflow=flow.key,
        workflow_id=str(flow.pk),
        is_new=current is None,
        creates=made.creates[:NAMED],
        updates=[change["path"] for change in made.updates[:NAMED]],
        deletes=made.deletes[:NAMED],
        refused=[refusal["path"] for refusal in made.refused[:NAMED]],
        counts={name: len(value) for name, value in made.as_dict().items() if name != "digest"},
        digest=made.digest,
    )
    return made


def _check_whole(made: Plan, current: Document | None) -> None:
    """What stays and what comes must be a workflow together. Raises WorkflowConflict.

    A fault that was there before is not this change's.
    """
    known = set(faults_of(current)) if current else set()
    faults = [fault for fault in faults_of(made.document) if fault not in known]
    if not faults:
        return
    named = [
        {"path": _told_path(made.document, path), "code": code, "message": message}
        for path, code, message in faults
    ]
    first = f"{named[0]['path']}: {named[0]['message']}"
    raise WorkflowConflict(
        f"With what stays it would be no workflow: {first}.", errors=named, **made.as_dict()
    )


def _told_path(document: Document, path: tuple[str | int, ...]) -> str:
    """With keys in place of numbers: what stays has no number in the text."""
    parts = list(path)
    if len(parts) > 1 and parts[0] in {"phases", "board_columns"} and isinstance(parts[1], int):
        parts[1] = document[str(parts[0])][parts[1]]["id"]
    return ".".join(map(str, parts))


def _check_kinds(spec: WorkflowSpec) -> None:
    for key, kind in spec.context.items():
        if kind not in known_kinds():
            known = ", ".join(known_kinds()) or "none"
            raise Invalid(path=f"context.{key}", reason=f"{kind!r} is unknown; known: {known}")


def export_workflow(*, workflow_id: UUID) -> str:
    """The workflow as it is now, as YAML."""
    return dump(document_of(Workflow.objects.get(pk=workflow_id)))
