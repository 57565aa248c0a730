"""Workflows as YAML: strict, read with the safe loader, no aliases, no unknown or doubled keys."""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from guardian import strict_yaml
from guardian.strict_yaml import YamlInvalid
from phases.gate_kinds import PARAMETERS

LIMIT_BYTES = 1024 * 1024


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Definition(_Strict):
    key: str
    text: str
    proved_by: str | None = None
    required: bool = True


class Output(_Strict):
    type: str
    pattern: str
    required: bool = True
    validation_rule: str | None = None


class EntryTask(_Strict):
    task_type: str
    title: str
    required_capabilities: list[str] = []
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
    parameters: dict[str, Any] = {}
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


class PhaseSpec(_Strict):
    id: str = Field(pattern=r"^PHASE_[A-Z0-9_]{1,40}$")
    sequence_order: int = Field(ge=0)
    name: str = Field(max_length=100)
    description: str = ""
    kind: Literal["work", "done", "blocked"] = "work"
    allowed_transitions: list[str] = []
    is_terminal: bool = False
    done_definitions: list[Definition] = []
    expected_outputs: list[Output] = []
    phase_prompt: str = ""
    next_steps_guide: list[str] = []
    entry_task: EntryTask | None = None
    review: Review = Review()
    gate: list[Gate] = []
    configuration: dict[str, Any] = {}


class ColumnSpec(_Strict):
    id: str
    name: str = Field(max_length=100)
    sequence_order: int = Field(ge=0)
    phase_mapping: list[str]
    wip_limit: int | None = Field(default=None, ge=1)
    is_terminal: bool = False
    auto_transition_to: str = ""
    color: Literal["gray", "blue", "yellow", "green", "red"] = "gray"


class WorkflowSpec(_Strict):
    format: Literal[1]
    key: str = Field(max_length=64)
    name: str = Field(max_length=100)
    description: str = ""
    initial_phase: str
    has_result: bool = False
    result_criteria: str = ""
    on_result_found: Literal["stop_all", "do_nothing"] = "stop_all"
    context: dict[str, str] = {}
    phases: list[PhaseSpec] = Field(min_length=1)
    board_columns: list[ColumnSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def references_resolve(self) -> Self:
        keys = [phase.id for phase in self.phases]
        columns = {column.id for column in self.board_columns}
        mapped = [key for column in self.board_columns for key in column.phase_mapping]
        faults = [
            *_doubled("phase", keys),
            *_doubled("sequence_order", [str(phase.sequence_order) for phase in self.phases]),
            *_doubled("column", [column.id for column in self.board_columns]),
            *_doubled("phase in a column", mapped),
            *(f"phase {key} is in no column" for key in keys if key not in mapped),
            *(f"a column names the unknown phase {key}" for key in mapped if key not in keys),
            *(
                f"{phase.id} allows the unknown phase {key}"
                for phase in self.phases
                for key in phase.allowed_transitions
                if key not in keys
            ),
            *(
                f"column {column.id} points to {column.auto_transition_to!r}"
                for column in self.board_columns
                if column.auto_transition_to
                and (
                    column.auto_transition_to not in columns
                    or column.auto_transition_to == column.id
                )
            ),
        ]
        if self.initial_phase not in keys:
            faults.append(f"initial_phase {self.initial_phase} is unknown")
        if sum(phase.kind == "done" for phase in self.phases) != 1:
            faults.append("exactly one phase must be of kind done")
        if sum(phase.kind == "blocked" for phase in self.phases) > 1:
            faults.append("at most one phase may be of kind blocked")
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _doubled(what: str, values: list[str]) -> list[str]:
    return [
        f"{what} {value} stands twice" for value in sorted(set(values)) if values.count(value) > 1
    ]


def read(text: str) -> WorkflowSpec:
    """The checked workflow. Raises YamlInvalid naming path or line of what is wrong."""
    if len(text.encode()) > LIMIT_BYTES:
        raise YamlInvalid("The document is larger than 1 MiB.")
    data = strict_yaml.load(text)
    try:
        return WorkflowSpec.model_validate(data)
    except ValidationError as error:
        found = [
            {
                "path": ".".join(str(part) for part in fault["loc"]),
                "code": fault["type"],
                "message": fault["msg"],
            }
            for fault in error.errors()
        ]
        raise YamlInvalid("The workflow has errors.", errors=found) from error
