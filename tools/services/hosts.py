"""What isolation the hosts offer, and the refusal when it is too little."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from guardian.errors import IsolationUnavailable
from guardian.outbox import emit
from tools import events
from tools.models import SandboxHost
from tools.sandbox.job import LEVELS, level_is_enough


def untrusted_floor() -> str:
    """The level untrusted code needs here; an operator may have lowered it, never to none."""
    floor = settings.UNTRUSTED_LEVEL
    return floor if floor in {"container", "bwrap+", "bwrap"} else "container"


@transaction.atomic
def tell_lowered_floor() -> bool:
    """Record at each start that uploaded code may run below a container; False where it may not."""
    floor = untrusted_floor()
    if floor == "container":
        return False
    emit(events.FLOOR_LOWERED, priority="high", level=floor)
    return True


def reviewed_floor() -> str:
    """bwrap+, or less where the operator lowered even the untrusted floor."""
    return max("bwrap+", untrusted_floor(), key=LEVELS.index)


def offered_levels() -> list[str]:
    """Levels some live host proved, strongest first; `none` needs no proof."""
    found = {level for host in SandboxHost.objects.live() for level in host.levels}
    return [level for level in LEVELS if level in found | {"none"}]


def isolation_error(
    needed: str, offered: list[str], evidence: Iterable[dict[str, Any]]
) -> IsolationUnavailable:
    """The refusal with its cause; `evidence` is what the probes of the hosts asked found."""
    best = offered[0] if offered else "none"
    causes = list(dict.fromkeys(_why_not(needed, found) for found in evidence))
    cause = "; ".join(causes) if causes else "no host with a sandbox worker is up"
    return IsolationUnavailable(
        f"This needs isolation level “{needed}”, which no host offers now: {cause}."
        f" The best at hand is “{best}”.",
        needed=needed,
        offered=best,
        remedy="Start a worker on a host with a container engine and the sandbox image"
        " (script/engine start, script/sandbox-image build), then retry.",
    )


def _why_not(needed: str, evidence: dict[str, Any]) -> str:
    """Why a host with this evidence does not offer the level, as the end of a sentence."""
    found = evidence.get(needed)
    if not isinstance(found, dict):
        return "it was not proved"
    if found.get("why"):
        return str(found["why"]).rstrip(".")
    failed = [name.replace("_", " ") for name, value in found.items() if value is not True]
    return f"the probe failed at: {', '.join(failed)}" if failed else "it is proved only now"


def require_level_at_hand(*, needed: str) -> None:
    """Raises IsolationUnavailable when no live host offers the level or a stronger one."""
    offered = offered_levels()
    if not any(level_is_enough(level, needed) for level in offered):
        seen = SandboxHost.objects.live().order_by("name").values_list("evidence", flat=True)
        raise isolation_error(needed, offered, seen)


@transaction.atomic
def record_host(
    *, name: str, levels: list[str], evidence: dict[str, Any], warnings: list[str], image: str
) -> SandboxHost:
    """Store what a host's probe found, with a heartbeat; tells when the levels changed."""
    before = SandboxHost.objects.select_for_update().filter(name=name).first()
    values = {
        "levels": levels,
        "evidence": evidence,
        "warnings": warnings,
        "image": image,
        "probed_at": Now(),
        "heartbeat_at": Now(),
    }
    host, _ = SandboxHost.objects.update_or_create(name=name, defaults=values)
    if before is None or before.levels != levels:
        emit(events.HOST_CHANGED, subject=host, host=name, levels=levels, warnings=warnings)
    return SandboxHost.objects.get(pk=host.pk)


def beat(*, name: str) -> None:
    """Say that this host's worker is alive."""
    SandboxHost.objects.filter(name=name).update(heartbeat_at=Now())


def is_known(*, name: str) -> bool:
    return SandboxHost.objects.filter(name=name).exists()
