"""The parts of an installation as an operator sees them: how each is, and what was found."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from guardian import asked, health
from guardian.columns import told_span
from guardian.models import PricePack


def state_of_parts(request: HttpRequest) -> list[dict[str, Any]]:
    """[{name, ok, optional, note}] of database, relay, workers, disk, prices and new work."""
    findings, _ = health.examine()
    pack = PricePack.objects.filter(status="fresh").order_by("-built_at").first()
    findings["price pack"] = {
        "ok": pack is not None,
        "note": f"{pack} of {pack.asof_date}" if pack else "none is fresh: runs cannot be priced",
    }
    stopped = asked.stops_seen(request)
    findings["new work"] = {
        "ok": not stopped,
        "note": " ".join(map(str, stopped)) or "starts as it comes",
    }
    return [
        {
            "name": name.capitalize(),
            "ok": finding["ok"],
            # Redis only wakes; without it processes look for themselves.
            "optional": name == "redis" and "error" not in finding,
            "note": _note(name, finding),
        }
        for name, finding in findings.items()
    ]


def _note(name: str, finding: Mapping[str, Any]) -> str:
    """What was found, in words."""
    said = {
        "worker": lambda: (
            f"last heard {told_span(finding['heartbeat_age_seconds'])} ago"
            if finding.get("heartbeat_age_seconds") is not None
            else "none was ever heard"
        ),
        "relay": lambda: (
            f"{told_span(finding['lag_seconds'])} behind"
            if finding.get("active")
            else "nobody holds its lock"
        ),
        "migrations": lambda: f"{finding['waiting']} waiting",
        "disk": lambda: f"{finding['free_bytes'] / 2**30:.1f} GiB free",
    }.get(name)
    known = finding.get("note") or finding.get("error")
    return str(known) if known else said() if said else ""
