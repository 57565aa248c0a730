"""What the apps above know of whoever takes a lock; they tell it here when they start.

Guardian knows neither tasks nor instances of agents, yet a lock ends with the one it is for.
"""

from collections.abc import Callable
from uuid import UUID

from guardian.authority import Actor
from guardian.prepared import run_prepared

# Called in the transaction that takes the lock: the task's row is locked and marked there, so
# that whoever ends the task afterwards knows of the lock. Refuses where it is not the actor's.
TaskCheck = Callable[..., None]  # keywords: actor, task_id
_NO_INSTANCE = "SELECT NULL::uuid AS id WHERE false"

_checks: list[TaskCheck] = []
_instances: list[str] = [_NO_INSTANCE]


def hold_for_task(check: TaskCheck) -> TaskCheck:
    """Register what must hold before anybody takes a lock for a task."""
    if check not in _checks:
        _checks.append(check)
    return check


def hold_as_instance(statement: str) -> None:
    """Register the statement that finds the `id` of the instance of the agent `%(holder)s`.

    It locks that row, so that an instance which ends at the same moment frees this lock too.
    """
    _instances[:] = [statement]


def check_task(actor: Actor, task_id: UUID) -> None:
    """Raises what the registered checks raise: NotFound, LeaseLost."""
    for check in _checks:
        check(actor=actor, task_id=task_id)


def instance_sql() -> str:
    return _instances[0]


def instance_of(actor: Actor) -> UUID | None:
    """The instance that an agent works as; None for a person."""
    if actor.kind != "agent":
        return None
    rows = run_prepared(instance_sql(), {"holder": actor.id})
    return rows[0][0] if rows else None
