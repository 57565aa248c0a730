"""How urgent a ready task is (specification of tasks, K-12), the same in Python and in SQL."""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime
from typing import Any, TypeGuard

PRIORITY_PARTS = (1.0, 0.75, 0.5, 0.25)
AGE_SECONDS = 3600
DEADLINE_SECONDS = 900
MOST_BLOCKERS = 10
SUM_OF = ("priority", "age", "deadline", "blockers", "retry")


@dataclass(frozen=True, slots=True)
class Weights:
    """What each part counts; a workflow may bring its own. The order is that of ReadyTask.weights.

    `sla_factor` multiplies where at most 900 s are left; who waited `floor_after` seconds has at
    least `floor`.
    """

    priority: float = 0.45
    age: float = 0.20
    deadline: float = 0.15
    blockers: float = 0.15
    retry: float = 0.05
    sla_factor: float = 1.25
    floor: float = 0.49
    floor_after: float = 7200


DEFAULT = Weights()
NAMES = tuple(field.name for field in fields(Weights))


def weights_of(score: Mapping[str, Any]) -> Weights:
    """A workflow's weights, those of Lemnos for what it leaves open."""
    given = {name: float(score[name]) for name in NAMES if _is_number(score.get(name))}
    return Weights(**given)


def faults_of(score: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with a workflow's weights: (name, message) of each fault."""
    found = [(name, "This weight is unknown.") for name in score if name not in NAMES]
    for name in NAMES:
        value = score.get(name)
        if name in score and not (_is_number(value) and 0 <= float(value) <= 1_000_000):
            found.append((name, "Must be a number from 0 to 1,000,000."))
    total = sum(getattr(weights_of(score), name) for name in SUM_OF)
    if not found and abs(total - 1) > 1e-6:
        names = ", ".join(SUM_OF)
        found.append(("priority", f"{names} must be 1 together, and are {total:g}."))
    return found


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the score of a task is made of, as a row of the queue holds it."""

    priority: int
    ready_at: datetime | None
    deadline: datetime | None
    blockers: int
    retry_left: float


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its parts: each from 0 to 1, before its weight."""

    parts: dict[str, float]
    weights: Weights
    factor: float
    floor: float
    waited_seconds: float

    @property
    def value(self) -> float:
        counted = sum(getattr(self.weights, name) * part for name, part in self.parts.items())
        return max(counted * self.factor, self.floor)

    def as_dict(self) -> dict[str, Any]:
        """For programs: rounded to four places."""
        weights = asdict(self.weights)
        return {
            "score": round(self.value, 4),
            "parts": [
                {
                    "name": name,
                    "value": round(part, 4),
                    "weight": weights[name],
                    "points": round(weights[name] * part, 4),
                }
                for name, part in self.parts.items()
            ],
            "factor": self.factor,
            "floor": self.floor,
            "waited_seconds": round(self.waited_seconds, 1),
        }


def score_of(facts: Facts, *, now: datetime, weights: Weights = DEFAULT) -> Score:
    """The score at a moment; what is not ready yet has waited 0 s."""
    waited = (now - facts.ready_at).total_seconds() if facts.ready_at else 0.0
    left = (facts.deadline - now).total_seconds() if facts.deadline else None
    near = left is not None and left <= DEADLINE_SECONDS
    return Score(
        parts={
            "priority": PRIORITY_PARTS[facts.priority - 1],
            "age": min(1.0, waited / AGE_SECONDS),
            "deadline": 0.0 if left is None else max(0.0, min(1.0, 1 - left / DEADLINE_SECONDS)),
            "blockers": min(1.0, facts.blockers / MOST_BLOCKERS),
            "retry": facts.retry_left,
        },
        weights=weights,
        factor=weights.sla_factor if near else 1.0,
        floor=weights.floor if waited >= weights.floor_after else 0.0,
        waited_seconds=waited,
    )


def _formula(weigh: Mapping[str, str], now: str) -> str:
    waited = f"date_part('epoch', {now} - ready_at)"
    left = f"date_part('epoch', deadline - {now})"
    return f"""greatest((
        {weigh["priority"]} * (ARRAY{list(PRIORITY_PARTS)}::float8[])[priority]
        + {weigh["age"]} * least(1, {waited} / {AGE_SECONDS})
        + {weigh["deadline"]} * CASE WHEN deadline IS NULL THEN 0 ELSE
            greatest(0, least(1, 1 - {left} / {DEADLINE_SECONDS})) END
        + {weigh["blockers"]} * least(1, blockers / {MOST_BLOCKERS}.0::float8)
        + {weigh["retry"]} * retry_left)
        * CASE WHEN {left} <= {DEADLINE_SECONDS} THEN {weigh["sla_factor"]} ELSE 1 END,
        CASE WHEN {waited} >= {weigh["floor_after"]} THEN {weigh["floor"]} ELSE 0 END)"""


def score_sql(now: str = "statement_timestamp()") -> str:
    """The same over the columns of a ready row; most rows have the weights of Lemnos."""
    usual = {name: f"{value}::float8" for name, value in asdict(DEFAULT).items()}
    own = {name: f"weights[{place}]" for place, name in enumerate(NAMES, 1)}
    return f"CASE WHEN weights IS NULL THEN {_formula(usual, now)} ELSE {_formula(own, now)} END"


def _weight_sql(name: str, usual: float) -> str:
    value = f"w.score -> '{name}'"
    return (
        f"coalesce(CASE WHEN jsonb_typeof({value}) = 'number'"
        f" THEN ({value})::text::float8 END, {usual})"
    )


# Of the workflow row `w`: null where it has no weights of its own. What is no number counts as
# left out: a claim never fails for it.
WEIGHTS_SQL = (
    "CASE WHEN w.score <> '{}'::jsonb THEN ARRAY["
    + ", ".join(
        _weight_sql(name, usual) for name, usual in zip(NAMES, astuple(DEFAULT), strict=True)
    )
    + "]::float8[] END"
)
