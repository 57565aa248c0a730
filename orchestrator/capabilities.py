"""What agents made of code can do: one map from a capability's name to its function.

A capability is a function with a contract:

    @capability(
        "repo.open",
        agent="workshop",
        inputs={"type": "object", "required": ["source"], "properties": {"source": {...}}},
        outputs={"type": "object", "required": ["files"], "properties": {"files": {...}}},
        reads="none",            # none | ledger | history | external: what the result depends on
        effects=False,           # True: it changes something outside its own result
        ttl_seconds=0,           # how long the result stays good
        example={"files": 3},    # a result as it may look, for dry runs
    )
    def open_repository(ctx: RequestCtx, step: StepContext, args: dict[str, Any]) -> dict[str, Any]:
        ...

`inputs` and `outputs` are JSON Schemas of objects, or pydantic models; unknown arguments are
refused. Decimal numbers in arguments arrive as Decimal, exact; decimals in results are kept exact
too. The function answers a dict, or an `Answer` when source, asof, ttl or confidence differ
from what is declared. It runs in a thread without a transaction, may refuse with a DomainError
(`permanent = False` makes it worth a retry), must ask `step.should_stop()` in long work, and does
its effects under `step.idempotency_key`, because it is called again after a crash. If its work
goes on elsewhere it raises `Waiting(label, id)`: the step waits without holding a slot and the
function is called again, with the same key, once the subject has ended
(`orchestrator.services.wake_runs`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal
from uuid import UUID

import jsonschema
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel

from guardian.authority import Actor
from orchestrator.errors import (
    CapabilityInputInvalid,
    CapabilityNotFound,
    CapabilityResultInvalid,
)
from orchestrator.request_context import RequestCtx

Reads = Literal["none", "ledger", "history", "external"]
Status = Literal["real", "partial"]
Schema = Mapping[str, Any]
MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class StepContext:
    """Who asks, for which step, and when to stop."""

    actor: Actor
    run_id: UUID
    step_id: str
    attempt: int
    ticket_id: UUID | None
    task_id: UUID | None
    # `<run>:<step>`: an effect done under this key is done once, however often it is called.
    idempotency_key: str
    should_stop: Callable[[], bool]
    seconds_left: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """A result with what the declaration cannot know."""

    value: dict[str, Any]
    source: str | None = None
    asof: date | str | None = None
    ttl_seconds: int | None = None
    confidence: float = 1.0


class Waiting(Exception):
    """The work of this step goes on elsewhere, under (label, id); call me again when it ended."""

    def __init__(self, label: str, subject_id: UUID | str, reason: str = "") -> None:
        self.label, self.subject_id = label, str(subject_id)
        self.reason = reason or f"waits for {label} {subject_id}"
        super().__init__(self.reason)


Function = Callable[[RequestCtx, StepContext, dict[str, Any]], "dict[str, Any] | Answer"]


@dataclass(frozen=True, slots=True)
class Capability:
    """A function with its contract and what it depends on."""

    name: str
    agent: str
    function: Function
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    reads: Reads
    effects: bool
    status: Status
    ttl_seconds: int
    source: str
    example: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def faults(schema: Schema, value: Any, root: str) -> Iterator[dict[str, str]]:
        """What a value breaks of a contract, at most 20 faults, with paths below `root`."""
        validator = jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.FormatChecker(["uuid", "date"])
        )
        for number, fault in enumerate(validator.iter_errors(value)):
            if number == MOST_FAULTS:
                return
            path = ".".join([root, *map(str, fault.absolute_path)])
            yield {"path": path, "code": "invalid", "message": fault.message[:300]}

    def check_args(self, args: Any) -> None:
        """Raises CapabilityInputInvalid with the path of each fault."""
        faults = list(self.faults(self.inputs, args, "args"))
        if faults:
            first = f"{faults[0]['path']}: {faults[0]['message']}"
            raise CapabilityInputInvalid(first, errors=faults, capability=self.name)

    def check_result(self, result: Any) -> None:
        """Raises CapabilityResultInvalid with the path of each fault."""
        faults = list(self.faults(self.outputs, result, "result"))
        if faults:
            first = f"{self.name} answered {faults[0]['path']}: {faults[0]['message']}"
            raise CapabilityResultInvalid(first, errors=faults, capability=self.name)

    def metadata(self, ctx: RequestCtx, answer: Answer, *, duration_ms: int) -> dict[str, Any]:
        """What every result carries along."""
        asof = answer.asof or ctx.asof_date
        return {
            "agent_name": self.agent,
            "capability": self.name,
            "duration_ms": duration_ms,
            "source": answer.source or self.source,
            "asof": asof.isoformat() if isinstance(asof, date) else asof,
            "ttl_seconds": self.ttl_seconds if answer.ttl_seconds is None else answer.ttl_seconds,
            "confidence": answer.confidence,
        }


_capabilities: dict[str, Capability] = {}


def capability(
    name: str,
    *,
    agent: str,
    inputs: Schema | type[BaseModel],
    outputs: Schema | type[BaseModel],
    reads: Reads = "none",
    effects: bool = False,
    status: Status = "real",
    ttl_seconds: int = 0,
    source: str = "lemnos",
    example: dict[str, Any] | None = None,
) -> Callable[[Function], Function]:
    """Put a function into the map. Raises ImproperlyConfigured for a second owner."""

    def register(function: Function) -> Function:
        made = Capability(
            name=name,
            agent=agent,
            function=function,
            inputs=_closed(_schema(inputs)),
            outputs=_schema(outputs),
            reads=reads,
            effects=effects,
            status=status,
            ttl_seconds=ttl_seconds,
            source=source,
            example=example or {},
        )
        owner = _capabilities.get(name)
        if owner is not None and _place(owner.function) != _place(function):
            raise ImproperlyConfigured(
                f"capability {name!r} has two owners: {_place(owner.function)} and"
                f" {_place(function)}"
            )
        for schema in (made.inputs, made.outputs):
            jsonschema.Draft202012Validator.check_schema(schema)
        if example is not None:
            made.check_result(example)
        _capabilities[name] = made
        return function

    return register


def _place(function: Function) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _schema(contract: Schema | type[BaseModel]) -> dict[str, Any]:
    if isinstance(contract, type):
        return contract.model_json_schema()
    return dict(contract)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Unknown arguments are refused unless the contract says otherwise."""
    return {"type": "object", "additionalProperties": False, **schema}


def find(name: str) -> Capability:
    """Raises CapabilityNotFound with the names that there are."""
    found = _capabilities.get(name)
    if found is None:
        raise CapabilityNotFound(
            f"No agent here has the capability {name!r}.",
            capability=name,
            available=sorted(_capabilities),
        )
    return found


def every() -> list[Capability]:
    return [_capabilities[name] for name in sorted(_capabilities)]


def agents() -> list[str]:
    return sorted({found.agent for found in _capabilities.values()})


def forget(name: str) -> None:
    """Take one out again: for tests."""
    _capabilities.pop(name, None)


def as_answer(returned: object, name: str) -> Answer:
    """Raises CapabilityResultInvalid for anything but a dict or an Answer."""
    if isinstance(returned, Answer):
        return returned
    if isinstance(returned, dict):
        return Answer(returned)
    kind = type(returned).__name__
    raise CapabilityResultInvalid(f"{name} answered {kind} instead of an object.", capability=name)
