"""Workflows come from YAML; the shipped ones are put into each new team once."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from pydantic import BaseModel

from guardian.errors import Invalid
from guardian.models import Team
from phases.context import known_kinds
from phases.models import BoardColumn, GateRequirement, Phase, Workflow
from phases.workflow_yaml import WorkflowSpec, read

SHIPPED = ("default", "software_development", "repo_checkup")


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
    for key, kind in spec.context.items():
        if kind not in known_kinds():
            known = ", ".join(known_kinds()) or "none"
            raise Invalid(path=f"context.{key}", reason=f"{kind!r} is unknown; known: {known}")
    workflow = Workflow.objects.create(
        team=team,
        key=spec.key,
        name=spec.name,
        description=spec.description,
        initial_phase=spec.initial_phase,
        is_default=is_default,
        has_result=spec.has_result,
        result_criteria=spec.result_criteria,
        on_result_found=spec.on_result_found,
        approval_required=spec.approval.required,
        approval_timeout_minutes=spec.approval.timeout_minutes,
        score=own_values(spec.score),
        limits=own_values(spec.limits),
        context_kinds=spec.context,
    )
    columns: dict[str, BoardColumn] = {}  # of a phase's key
    rows: list[BoardColumn] = []
    for item in spec.board_columns:
        column = BoardColumn(
            team=team,
            workflow=workflow,
            key=item.id,
            name=item.name,
            position=item.sequence_order,
            wip_limit=item.wip_limit,
            is_terminal=item.is_terminal,
            auto_transition_to=item.auto_transition_to or "",
            color=item.color,
        )
        rows.append(column)
        columns |= dict.fromkeys(item.phase_mapping, column)
    phases: list[Phase] = []
    gates: list[GateRequirement] = []
    for phase_spec in spec.phases:
        phase = Phase(
            team=team,
            workflow=workflow,
            column=columns[phase_spec.id],
            key=phase_spec.id,
            entry_task=phase_spec.entry_task.model_dump() if phase_spec.entry_task else None,
            review_required=phase_spec.review.required,
            max_review_iterations=phase_spec.review.max_iterations,
            done_definitions=[d.model_dump() for d in phase_spec.done_definitions],
            expected_outputs=[o.model_dump() for o in phase_spec.expected_outputs],
            **phase_spec.model_dump(
                include={
                    "sequence_order",
                    "name",
                    "description",
                    "kind",
                    "allowed_transitions",
                    "is_terminal",
                    "phase_prompt",
                    "next_steps_guide",
                    "configuration",
                }
            ),
        )
        phases.append(phase)
        gates += [
            GateRequirement(team=team, phase=phase, **gate.model_dump()) for gate in phase_spec.gate
        ]
    _link(phases, rows)
    BoardColumn.objects.bulk_create(rows)
    Phase.objects.bulk_create(phases)
    GateRequirement.objects.bulk_create(gates)
    return workflow


def own_values(part: BaseModel) -> dict[str, Any]:
    """What a workflow says otherwise than Lemnos would; the rest follows Lemnos."""
    return part.model_dump(exclude_defaults=True)


def _link(phases: Iterable[Phase], columns: Iterable[BoardColumn]) -> None:
    """The next column of a phase: its column's pointer, else that of the lowest forward phase."""
    by_key = {phase.key: phase for phase in phases}
    pointers = {column.key: column for column in columns}
    for phase in by_key.values():
        pointer = pointers.get(phase.column.auto_transition_to)
        forward = sorted(
            (
                by_key[key]
                for key in phase.allowed_transitions
                if key in by_key
                and by_key[key].sequence_order > phase.sequence_order
                and by_key[key].kind != Phase.Kind.BLOCKED
            ),
            key=lambda p: p.sequence_order,
        )
        phase.next_column = pointer or (forward[0].column if forward else None)
