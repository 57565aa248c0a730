"""Keeps a task's lease while its work goes on, and says when to stop."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog
from django.db import DatabaseError, connection

from guardian.authority import Actor
from guardian.errors import DomainError
from guardian.hosts import is_leaving
from guardian.services import standing_of
from orchestrator.errors import RunTakenOver
from orchestrator.models import AgentExecution
from phases import services as phases

log = structlog.get_logger(__name__)

# Work that was called off ends within two seconds: one for the look, one for the sandbox.
LOOK_SECONDS = 1


class LeaseKeeper:
    """Renews a lease in a thread each third of it; `reason` tells why to stop, else it is empty.

    Reasons: `cancelled`, `lease_lost`, `superseded` (another host has this execution now),
    `timeout`, `host_stopping`, `kill_switch_on`. A database that is away is asked again until the
    lease is over.
    """

    def __init__(
        self,
        *,
        actor: Actor,
        execution: AgentExecution,
        lease_seconds: int,
        timeout_seconds: float,
    ) -> None:
        self._actor, self._lease_seconds = actor, lease_seconds
        self._execution_id: UUID = execution.pk
        self._attempt = execution.attempt
        if execution.task_id is None or execution.fence is None:
            raise ValueError(f"execution {execution.pk} holds no task")
        self._task_id, self._fence = execution.task_id, execution.fence
        self._team_id = execution.team_id
        now = time.monotonic()
        self._deadline = now + timeout_seconds
        self._held_until = now + lease_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.reason = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def should_stop(self) -> bool:
        """Whether the work must end now.

        Raises RunTakenOver where the task is no longer ours: what another host goes on with must
        not be called off.
        """
        if self.reason in {"superseded", "lease_lost"}:
            raise RunTakenOver
        if not self.reason and time.monotonic() > self._deadline:
            self.reason = "timeout"
        if not self.reason and is_leaving():
            self.reason = "host_stopping"
        return bool(self.reason)

    def _keep(self) -> None:
        renew_at = time.monotonic() + self._lease_seconds / 3
        try:
            while not self._ended.wait(LOOK_SECONDS) and not self.reason:
                due = time.monotonic() >= renew_at
                self._guarded(self._renew if due else self._look)
                if due:
                    renew_at = time.monotonic() + self._lease_seconds / 3
        finally:
            connection.close()

    def _guarded(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except DomainError as refusal:
            self.reason = refusal.code
        except DatabaseError as error:
            connection.close()
            log.warning("lease_not_renewed", task=str(self._task_id), error=type(error).__name__)
            if time.monotonic() > self._held_until:
                self.reason = "lease_lost"

    def _look(self) -> None:
        """Cheap reads between two renewals, so that what is called off stops within seconds."""
        row = (
            AgentExecution.objects.filter(pk=self._execution_id, state="running")
            .values_list("attempt", "task__fence", "task__cancel_deadline")
            .first()
        )
        if row is None or row[0] != self._attempt:
            self.reason = "superseded"
        elif row[1] != self._fence:
            self.reason = "lease_lost"
        elif row[2] is not None:
            self.reason = "cancelled"
        elif standing_of(team_id=self._team_id).kill_switch:
            self.reason = "kill_switch_on"

    def _renew(self) -> None:
        asked = time.monotonic()
        self._look()
        if self.reason:
            return
        phases.extend_lease(
            actor=self._actor,
            task_id=self._task_id,
            fence=self._fence,
            lease_seconds=self._lease_seconds,
        )
        self._held_until = asked + self._lease_seconds
