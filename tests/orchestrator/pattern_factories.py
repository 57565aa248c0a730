"""Rows of patterns and runs for tests, by the shortest honest way."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from guardian.authority import Actor
from orchestrator.models import ExecutionPattern, PatternRun, StepRun


def make_pattern_row(actor: Actor, **values: Any) -> ExecutionPattern:
    defaults: dict[str, Any] = {
        "team": actor.team,
        "slug": "demo",
        "name": "Demo",
        "source": "{}",
        "normal": {"steps": []},
        "content_hash": "0" * 64,
    }
    return ExecutionPattern.objects.create(**{**defaults, **values})


def make_run_row(actor: Actor, pattern: ExecutionPattern, **values: Any) -> PatternRun:
    defaults: dict[str, Any] = {
        "team": actor.team,
        "pattern": pattern,
        "content_hash": pattern.content_hash,
        "ctx": {"trace_id": "t"},
        "inputs": {"n": 1},
        "started_by": actor.user,
        "deadline": timezone.now() + timedelta(minutes=15),
    }
    return PatternRun.objects.create(**{**defaults, **values})


def make_step_row(run: PatternRun, **values: Any) -> StepRun:
    defaults: dict[str, Any] = {
        "team": run.team,
        "run": run,
        "step_id": "a",
        "position": 1,
        "capability": "test.echo",
        "agent": "tester",
    }
    return StepRun.objects.create(**{**defaults, **values})
