"""Workflows as YAML: their shape, in the order they are exported in, and strict reading.

`context` (key of a ticket's context -> kind of it, see phases.context) is Lemnos's own addition.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from guardian import strict_yaml
from guardian.strict_yaml import Document, YamlInvalid
from phases import workflow_rules
from phases.gate_asks import RULE_HELP, rules_of
from phases.gate_kinds import BY_KEY, PARAMETERS
from phases.results import reserved_type
from phases.scoring import DEFAULT

LIMIT_BYTES = 1024 * 1024
SLUG = r"^[A-Za-z0-9_-]{1,64}$"
PHASE_KEY = r"^PHASE_[A-Z0-9_]{1,40}$"
CAPABILITY = r"^[A-Za-z0-9_.:-]{1,64}$"
Short = Annotated[str, Field(max_length=1000)]
Long = Annotated[str, Field(max_length=20_000)]
Order = Annotated[int, Field(ge=0, le=32_767)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Definition(_Strict):
    key: str = Field(pattern=SLUG)
    text: Short = Field(min_length=1)
    proved_by: str | None = Field(default=None, pattern=SLUG)
    required: bool = True


class Output(_Strict):
    type: str = Field(pattern=SLUG)
    pattern: str = Field(min_length=1, max_length=500)
    required: bool = True
    validation_rule: str | None = Field(default=None, max_length=500)

    @field_validator("type")
    @classmethod
    def can_be_handed_in(cls, value: str) -> str:
        if value in BY_KEY:
            raise ValueError(reserved_type(value))
        return value

    @field_validator("validation_rule")
    @classmethod
    def can_be_judged(cls, value: str | None) -> str | None:
        try:
            if value:
                rules_of(value)
        except ValueError as error:
            raise ValueError(RULE_HELP) from error
        return value


class EntryTask(_Strict):
    task_type: str = Field(min_length=1, max_length=64)
    title: str = Field(min_length=1, max_length=500)
    required_capabilities: list[Annotated[str, Field(pattern=CAPABILITY)]] = Field(
        default=[], max_length=20
    )
    timeout_seconds: int | None = Field(default=None, ge=1, le=86400)


class Gate(_Strict):
    key: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    kind: Literal[
        "artifact",
        "tasks_completed",
        "file_exists",
        "file_contains",
        "command_success",
        "tests_pass",
        "metric",
        "manual",
        "review",
    ]
    # Judged also where they are left out: most kinds need some.
    parameters: dict[str, Any] = Field(default={}, validate_default=True)
    min_evidence: Literal["reported", "verified"] = "verified"
    required: bool = True

    @field_validator("parameters")
    @classmethod
    def parameters_fit_the_kind(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if info.data.get("kind") in PARAMETERS:
            PARAMETERS[info.data["kind"]].model_validate(value)
        return value


class Review(_Strict):
    required: bool = False
    max_iterations: int = Field(default=3, ge=1, le=10)


class Approval(_Strict):
    required: bool = False
    timeout_minutes: int = Field(default=30, ge=1, le=525_600)


class Score(_Strict):
    """Weights of a claim's order; `workflow_rules` judges them together."""

    priority: float = DEFAULT.priority
    age: float = DEFAULT.age
    deadline: float = DEFAULT.deadline
    blockers: float = DEFAULT.blockers
    retry: float = DEFAULT.retry
    sla_factor: float = DEFAULT.sla_factor
    floor: float = DEFAULT.floor
    floor_after: float = DEFAULT.floor_after


class Limits(_Strict):
    """How far discoveries may go by themselves."""

    discovery_depth: int = Field(default=5, ge=0, le=100)
    spawn_per_ticket: int = Field(default=50, ge=0, le=10_000)


class PhaseSpec(_Strict):
    id: str = Field(pattern=PHASE_KEY)
    sequence_order: Order
    name: str = Field(min_length=1, max_length=100)
    description: Long = ""
    kind: Literal["work", "done", "blocked"] = "work"
    allowed_transitions: list[str] = Field(default=[], max_length=100)
    is_terminal: bool = False
    done_definitions: list[Definition] = Field(default=[], max_length=50)
    expected_outputs: list[Output] = Field(default=[], max_length=50)
    phase_prompt: Long = ""
    next_steps_guide: list[Short] = Field(default=[], max_length=50)
    entry_task: EntryTask | None = None
    review: Review = Review()
    gate: list[Gate] = Field(default=[], max_length=100)
    configuration: dict[str, Any] = {}


class ColumnSpec(_Strict):
    id: str = Field(pattern=SLUG)
    name: str = Field(min_length=1, max_length=100)
    sequence_order: Order
    phase_mapping: list[str] = Field(max_length=100)
    wip_limit: int | None = Field(default=None, ge=1, le=100_000)
    is_terminal: bool = False
    auto_transition_to: str | None = None
    color: Literal["gray", "blue", "yellow", "green", "red"] = "gray"


class WorkflowSpec(_Strict):
    format: Literal[1]
    key: str = Field(pattern=SLUG)
    name: str = Field(min_length=1, max_length=100)
    description: Long = ""
    initial_phase: str
    has_result: bool = False
    result_criteria: Long = ""
    on_result_found: Literal["stop_all", "do_nothing"] = "stop_all"
    approval: Approval = Approval()
    score: Score = Score()
    limits: Limits = Limits()
    context: dict[str, str] = Field(default={}, max_length=20)
    phases: list[PhaseSpec] = Field(min_length=1, max_length=100)
    board_columns: list[ColumnSpec] = Field(min_length=1, max_length=100)


def read(text: str) -> WorkflowSpec:
    """The checked workflow. Raises YamlInvalid with every fault: path, line, column, message."""
    document = strict_yaml.read(_of_size(text))
    faults = [*document.faults, *_shape_faults(document)]
    faults += [document.fault(*fault) for fault in workflow_rules.faults_of(document.value)]
    if faults:
        raise strict_yaml.refused(faults)
    return WorkflowSpec.model_validate(document.value)


def _of_size(text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > LIMIT_BYTES:
        raise YamlInvalid("The document is larger than 1 MiB.", errors=[
            {"path": "", "line": 1, "column": 1, "code": "too_large",
             "message": "is larger than 1 MiB"}
        ])  # fmt: skip
    return text


def _shape_faults(document: Document) -> list[dict[str, Any]]:
    # What a doubled key or a tag left out is no fault of its own.
    known = {fault["path"] for fault in document.faults}
    found = (
        document.fault(loc, code, message, at_key=code == "unknown_field")
        for loc, code, message in shape_faults(WorkflowSpec, document.value)
    )
    return [fault for fault in found if fault["path"] not in known]


def shape_faults(shape: type[BaseModel], value: Any) -> list[tuple[tuple[Any, ...], str, str]]:
    """(path, code, message) of everything in a value that its shape does not take."""
    try:
        shape.model_validate(value)
    except ValidationError as error:
        return [
            (
                tuple(fault["loc"]),
                _CODES.get(fault["type"], "invalid"),
                _message(fault["type"], fault["msg"]),
            )
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    return []


_CODES = {"extra_forbidden": "unknown_field", "missing": "required"}
_MESSAGES = {"extra_forbidden": "this key is unknown", "missing": "is required"}


def _message(kind: str, said: str) -> str:
    return _MESSAGES.get(kind, said.removeprefix("Value error, ").removeprefix("Input "))
