"""Workflows come from YAML; the shipped ones are put into each new team once."""

from pathlib import Path

from django.conf import settings
from django.db import transaction

from guardian.errors import Invalid
from guardian.models import Team
from phases.context import known_kinds
from phases.models import BoardColumn, GateRequirement, Phase, Workflow
from phases.workflow_yaml import WorkflowSpec, read

SHIPPED = ("default", "software_development", "repo_checkup")


@transaction.atomic
def seed_team(*, team: Team) -> list[Workflow]:
    """The shipped workflows, where the team does not have them yet. Edits survive."""
    made = []
    for key in SHIPPED:
        if Workflow.objects.filter(team=team, key=key).exists():
            continue
        path = Path(settings.BASE_DIR) / "templates" / "workflows" / f"{key}.yaml"
        spec = read(path.read_text("utf-8"))
        made.append(import_workflow(team=team, spec=spec, is_default=key == "default"))
    return made


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
        context_kinds=spec.context,
    )
    columns: dict[str, BoardColumn] = {}
    for item in spec.board_columns:
        column = BoardColumn.objects.create(
            team=team,
            workflow=workflow,
            key=item.id,
            name=item.name,
            position=item.sequence_order,
            wip_limit=item.wip_limit,
            is_terminal=item.is_terminal,
            auto_transition_to=item.auto_transition_to,
            color=item.color,
        )
        columns |= dict.fromkeys(item.phase_mapping, column)
    for phase_spec in spec.phases:
        phase = Phase.objects.create(
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
        for gate in phase_spec.gate:
            GateRequirement.objects.create(team=team, phase=phase, **gate.model_dump())
    link_next_columns(workflow=workflow)
    return workflow


def link_next_columns(*, workflow: Workflow) -> None:
    """The next column of a phase: its column's pointer, else that of the lowest forward phase."""
    phases = {p.key: p for p in workflow.phases.select_related("column")}
    columns = {c.key: c for c in workflow.columns.all()}
    for phase in phases.values():
        pointer = columns.get(phase.column.auto_transition_to)
        forward = sorted(
            (
                phases[key]
                for key in phase.allowed_transitions
                if key in phases
                and phases[key].sequence_order > phase.sequence_order
                and phases[key].kind != Phase.Kind.BLOCKED
            ),
            key=lambda p: p.sequence_order,
        )
        following = pointer or (forward[0].column if forward else None)
        if phase.next_column_id != (following.pk if following else None):
            phase.next_column = following
            phase.save(update_fields=["next_column", "updated_at"])
