"""A row of every model the admin shows, and many more like them, each with relations of its own."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db import connection
from django.db.backends.postgresql.psycopg_any import NumericRange
from django.db.models import (
    CharField,
    ForeignKey,
    IntegerField,
    Model,
    TextField,
    UniqueConstraint,
    UUIDField,
)
from django.utils import timezone

from guardian import relay
from guardian import services as guardian
from guardian.models import Budget, CostRecord, IdempotencyKey, Membership, ResourceLock, Team, User
from guardian.models.base import uuid7
from memory import services as memory
from orchestrator.models import AgentTrigger, AgentVersion, PatternRun
from phases import services as phases
from phases.models import PhaseContext, Review, Task, TaskDependency, Ticket
from tests.config.world import World, make_world
from tests.memory_factories import remember
from tests.orchestrator.pattern_factories import make_step_row
from tools.models import SandboxHost, ToolExecution, ToolExecutionLog

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def make_full_world(slug: str = "harbour") -> World:
    """The matrix's world and the rows it lacks. Rows of the installation are made once."""
    made = make_world(slug)
    team, agent, chief = made.team, made.people["agent"], made.people["admin"]
    ticket = Ticket.objects.get(pk=made.rows["/api/v1/tickets/"])
    task = Task.objects.get(pk=made.rows["/api/v1/tasks/"])
    other = phases.create_task(actor=chief, ticket=ticket, task_type="next", title="Next")
    TaskDependency.objects.create(team=team, task=other, depends_on=task)
    if not Review.objects.filter(team=team).exists():
        Review.objects.create(team=team, task=task, iteration=1, author=agent.user)
    if not PhaseContext.objects.filter(team=team).exists():
        PhaseContext.objects.create(
            team=team, ticket=ticket, phase=ticket.phase, context_summary="- It sails"
        )
    phases.validate_gate(actor=chief, ticket_id=ticket.pk)
    run = made.rows["/api/v1/runs/"]
    record = remember(team, agent, task_id=task.pk, ticket_id=ticket.pk, run_id=run)
    memory.record_uses(
        team_id=team.pk, run_id=record.run_id, task_id=record.task_id, record_ids=[record.pk]
    )
    version = AgentVersion.objects.filter(team=team)[0]
    AgentTrigger.objects.create(
        team=team, definition=version.definition, agent_version=version, type="ship.*"
    )
    make_step_row(PatternRun.objects.get(pk=run))
    ToolExecutionLog.objects.create(
        team=team, seq=1, message="began",
        execution=ToolExecution.objects.get(pk=made.rows["/api/v1/tools/executions/"]),
    )  # fmt: skip
    guardian.log_error(error=RuntimeError("boom"), component="relay", team_id=team.pk)
    Budget.objects.create(team=team, scope_type="team", scope_id=str(team.pk), limit=Decimal(10))
    CostRecord.objects.create(team=team, kind="hold", amount=Decimal(1), ticket_id=ticket.pk)
    guardian.set_kill_switch(actor=chief, on=True, reason="the harbour burns")
    if not SandboxHost.objects.exists():
        guardian.build_first_pack()
        SandboxHost.objects.create(name="host-1", levels=["none"], heartbeat_at=timezone.now())
        IdempotencyKey.objects.create(
            owner="x", key="k", request_hash="0" * 64, status=200, body={},
            created_at=timezone.now(),
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    relay.run_once()
    return made


def first_rows(team: Team) -> dict[type[Model], Any]:
    """One row of each model, of this team where it has one."""
    rows: dict[type[Model], Any] = {}
    for model in MODELS:
        found = model._default_manager.order_by("pk")
        path = getattr(admin.site._registry[model], "team_path", None)
        mine = found.filter(**{path: team.pk}) if path else found
        rows[model] = (mine if path and mine.exists() else found).first()
    return rows


def multiply(rows: dict[type[Model], Any], *, times: int, seen_by: User) -> None:
    """`times` copies of all rows, each copy in a team of its own that `seen_by` belongs to.

    A copy names the copies of what its original names: rows that share what they name would hide
    a question asked for each of them. Triggers and foreign keys rest meanwhile.
    """
    names = {(model, row.pk): [_name(row) for _ in range(times)] for model, row in rows.items()}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for model, row in rows.items():
            copies = [_copy(row, number, names) for number in range(times)]
            _insert(model, copies)
        _insert(
            Membership,
            [
                Membership(user=seen_by, team_id=pk, role="admin", authority=5)
                for pk in names[Team, rows[Team].pk]
            ],
        )
        cursor.execute("SET LOCAL session_replication_role = origin")


_next = iter(range(10**9, 2 * 10**9))
_serial = iter(range(1000, 99_999))


def _name(row: Model) -> Any:
    key = row._meta.pk
    while isinstance(key, ForeignKey):
        return ("of", key.name)
    if isinstance(key, UUIDField):
        return uuid7()
    return next(_next) if isinstance(key, IntegerField) else f"{row.pk}-{next(_next)}"


def _copy(row: Model, number: int, names: dict[Any, list[Any]]) -> Model:
    values: dict[str, Any] = {}
    for field in row._meta.concrete_fields:
        if field.generated:
            continue
        value = getattr(row, field.attname)
        if isinstance(field, ForeignKey):
            told = names.get((field.related_model, value))
            if told is None and value and field.name in _tellers(row, names):
                told = next(n for (model, _), n in names.items() if model is field.related_model)
            value = told[number] if told else value
        elif field.primary_key:
            value = names[type(row), row.pk][number]
        elif value is not None and _must_differ(row, field.name):
            value = _other(field, value)
        values[field.attname] = value
    if isinstance(row, ResourceLock):
        values["key_range"] = NumericRange(serial := next(_serial), serial + 1)
    return type(row)(**values)


def _tellers(row: Model, names: dict[Any, list[Any]]) -> set[str]:
    """Foreign keys that must name copies, or the copies of this row would be told apart by none."""
    found = set()
    for group in (c.fields for c in row._meta.constraints if isinstance(c, UniqueConstraint)):
        fields = [row._meta.get_field(name) for name in group]
        keys = [field for field in fields if isinstance(field, ForeignKey)]
        if keys and not any((k.related_model, getattr(row, k.attname)) in names for k in keys):
            found.add(keys[0].name)
    return found


def _must_differ(row: Model, name: str) -> bool:
    groups = [c.fields for c in row._meta.constraints if isinstance(c, UniqueConstraint)]
    field = row._meta.get_field(name)
    return field.unique or any(name in (group or ()) for group in groups)


def _other(field: Any, value: Any) -> Any:
    number = next(_serial)
    if isinstance(field, IntegerField):
        return number % 9_000
    if isinstance(value, UUID):
        return uuid7()
    if isinstance(field, CharField | TextField) and not field.choices:
        return f"{value[: max(1, (field.max_length or 99) - 5)]}{number:05d}"[
            -(field.max_length or 99) :
        ]
    return value


def _insert(model: type[Model], rows: list[Any]) -> None:
    """Also where the model's own manager only reads."""
    from django.db.models import Manager

    manager: Any = Manager()
    manager.model = model
    if model._meta.app_label != "procrastinate":
        manager.bulk_create(rows)
        return
    # Its enums and identities are beyond Django's insert of many rows.
    fields = model._meta.concrete_fields
    columns = ", ".join(str(field.column) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(
                f"INSERT INTO {model._meta.db_table} ({columns}) OVERRIDING SYSTEM VALUE"  # noqa: S608  names of columns
                f" VALUES ({marks})",
                [f.get_db_prep_save(getattr(row, f.attname), connection) for f in fields],
            )
