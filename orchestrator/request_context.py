"""What a run knows of the moment it was asked for; nothing in it changes afterwards."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime
from typing import Any, Self
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RequestCtx:
    """The pinned facts of one request: with the same ones, the same run gives the same result."""

    pricing_pack_id: str
    ledger_commit_hash: str
    trace_id: str
    ledger_seq: int
    request_id: str
    user_id: UUID
    team_id: UUID
    timestamp: datetime
    asof_date: date
    require_fresh: bool = True
    base_currency: str = "USD"
    portfolio_id: str | None = None
    security_id: str | None = None
    rights_profile: str | None = None
    # What the starter's credentials allowed then: a run never may more than its starter.
    scopes: tuple[str, ...] = field(default=())
    authority: int = 1

    def __post_init__(self) -> None:
        if not self.trace_id:
            raise ValueError("a request context needs a trace_id")

    def as_json(self) -> dict[str, Any]:
        """Plain values, as stored with the run and seen by templates."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        known = {item.name: stored[item.name] for item in fields(cls) if item.name in stored}
        return cls(
            **{
                **known,
                "user_id": UUID(known["user_id"]),
                "team_id": UUID(known["team_id"]),
                "timestamp": datetime.fromisoformat(known["timestamp"]),
                "asof_date": date.fromisoformat(known["asof_date"]),
                "scopes": tuple(known.get("scopes", ())),
            }
        )


def _plain(value: Any) -> Any:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
