"""What every bench shares: a migrated database, contestants in turn, medians and a last word."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def prepare() -> None:
    """Set Django up on the database of DATABASE_URL and bring it to the newest schema."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def interleaved(
    contestants: dict[str, Callable[[], float]], *, rounds: int
) -> dict[str, list[float]]:
    """Run each contestant once per round, in turn (A B C, B C A, …), after one round to warm up.

    A contestant answers its own measure, for example tasks per second.
    """
    names = list(contestants)
    measured: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            value = contestants[name]()
            if number:
                measured[name].append(value)
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return measured


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work took."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True)
class Goal:
    """A ratio and what it must at least or at most be."""

    text: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        high_enough = self.at_least is None or self.ratio >= self.at_least
        return high_enough and (self.at_most is None or self.ratio <= self.at_most)

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return (
            f"{self.text}: {self.ratio:.2f} (goal {sign} {bound}) {'met' if self.met else 'MISSED'}"
        )


def conclude(goals: Sequence[Goal]) -> int:
    """Print the ratios last; 1 when a goal is missed."""
    print()
    for goal in goals:
        print(goal)
    return 0 if all(goal.met for goal in goals) else 1
