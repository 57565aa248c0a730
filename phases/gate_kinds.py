"""The kinds of a gate's requirements: what each takes, and which of them our own runs answer."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from guardian.errors import Invalid
from phases.models import GateRequirement

Kind = GateRequirement.Kind
# Answered by a run in the sandbox: evidence of these types is written by Lemnos alone.
CHECKS = (Kind.FILE_EXISTS, Kind.FILE_CONTAINS, Kind.COMMAND_SUCCESS, Kind.TESTS_PASS)
# Evidence of these types stands for one requirement each: its path is the requirement's key.
BY_KEY = (*CHECKS, Kind.MANUAL)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Rules(Strict):
    """What is asked of an artifact's content."""

    min_length: int | None = Field(default=None, ge=1)
    sections: list[str] | None = None
    equals: dict[str, Any] | None = None
    min: dict[str, int | float] | None = None
    max: dict[str, int | float] | None = None
    all_passed: Literal[True] | None = None
    present: Literal[True] | list[str] | None = None


class ArtifactParameters(Strict):
    """`observed` asks for evidence that our own run recorded, also where the text itself shows."""

    artifact_type: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    rules: Rules = Rules()
    observed: bool = False

    @field_validator("artifact_type")
    @classmethod
    def can_be_handed_in(cls, value: str) -> str:
        return _not_by_key(value)


def _not_by_key(kind: str) -> str:
    if kind in BY_KEY:
        raise ValueError(f"{kind} is a kind of its own: let the gate ask for that")
    return kind


class NoParameters(Strict):
    """This kind of gate takes none."""


class PathParameters(Strict):
    path: str = Field(min_length=1, max_length=500)

    @field_validator("path")
    @classmethod
    def stays_in_the_source(cls, value: str) -> str:
        parts = value.split("/")
        if value.startswith("/") or ".." in parts or "\\" in value or not value.isprintable():
            raise ValueError("must be a path within the source, such as docs/design.md")
        return value


class ContainsParameters(PathParameters):
    text: str = Field(min_length=1, max_length=10_000)

    @field_validator("text")
    @classmethod
    def can_be_kept(cls, value: str) -> str:
        return _storable(value)


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must not contain half a character (a lone surrogate)") from error
    return value


class TestsParameters(Strict):
    """`argv` is run as it stands, without a shell, in the source's top folder."""

    argv: list[str] = Field(min_length=1, max_length=100)

    @field_validator("argv")
    @classmethod
    def words_can_be_passed(cls, value: list[str]) -> list[str]:
        if not value[0].strip():
            raise ValueError("the first word must name a program")
        if any(len(word) > 8192 for word in value):
            raise ValueError("a word may have at most 8192 characters")
        return [_storable(word) for word in value]


class CommandParameters(TestsParameters):
    timeout_seconds: int = Field(default=300, ge=1, le=3600)


_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,8}")


class MetricParameters(Strict):
    """`name` is `type.figure` (a dot for each step into the content), or a figure of any type."""

    name: str
    op: Literal[">=", ">", "<=", "<", "==", "!="]
    value: int | float = Field(allow_inf_nan=False)

    @field_validator("name")
    @classmethod
    def names_a_figure(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("must be a name such as percentage or test_coverage.percentage")
        if "." in value:
            _not_by_key(value.partition(".")[0])
        return value


class ManualParameters(Strict):
    question: str = Field(min_length=3, max_length=1000)

    @field_validator("question")
    @classmethod
    def can_be_kept(cls, value: str) -> str:
        return _storable(value)


class ReviewParameters(Strict):
    count: int = Field(default=1, ge=1, le=20)


PARAMETERS: dict[str, type[Strict]] = {
    Kind.ARTIFACT: ArtifactParameters,
    Kind.TASKS_COMPLETED: NoParameters,
    Kind.FILE_EXISTS: PathParameters,
    Kind.FILE_CONTAINS: ContainsParameters,
    Kind.COMMAND_SUCCESS: CommandParameters,
    Kind.TESTS_PASS: TestsParameters,
    Kind.METRIC: MetricParameters,
    Kind.MANUAL: ManualParameters,
    Kind.REVIEW: ReviewParameters,
}


def check_parameters(kind: str, parameters: Mapping[str, Any]) -> None:
    """Raises Invalid with the path of each fault and what this kind takes."""
    shape = PARAMETERS[kind]
    try:
        shape.model_validate(dict(parameters))
    except ValidationError as error:
        faults = [
            {
                "path": ".".join(["parameters", *map(str, fault["loc"])]),
                "code": "invalid",
                "message": fault["msg"].removeprefix("Value error, "),
            }
            for fault in error.errors()[:20]
        ]
        first = f"{faults[0]['path']}: {faults[0]['message']}"
        raise Invalid(first, errors=faults, remedy=f"{kind} takes {_form_of(shape)}.") from error


def _form_of(shape: type[Strict]) -> str:
    """The parameters of a kind in words: names, with what holds where one is left out."""
    fields = [
        name if field.is_required() else f"{name} (optional)"
        for name, field in shape.model_fields.items()
    ]
    return ", ".join(fields) or "no parameters"
