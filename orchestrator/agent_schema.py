"""What an agent is, as YAML or JSON: strict, no anchors, every fault with its path."""

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from guardian import strict_yaml
from guardian.errors import Invalid

LIMIT_BYTES = 64 * 1024
# Semantic version 2.0.0 (semver.org), without build metadata.
SEMVER = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"

Token = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Scalar = str | int | float | bool | None


class DefinitionInvalid(Invalid):
    """This is no valid definition of an agent."""

    code = "definition_invalid"
    remedy = "Correct the fields it names."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(_Strict):
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{1,62}$")
    name: str = Field(min_length=1, max_length=120)
    version: str = Field(pattern=SEMVER, max_length=64)
    author: str = Field(min_length=1, max_length=120)
    description: str = ""
    tags: list[Token] = Field(default=[], max_length=20)


class Goal(_Strict):
    type: Literal["continuous", "on-demand"]
    description: str = Field(min_length=10)


class Trigger(_Strict):
    """What calls the agent: a dotted kind, whose last part may be `*`, and what it must hold."""

    type: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*\.(\*|[a-z0-9_]+)$", max_length=100)
    priority: Literal["critical", "high", "normal", "low"] = "normal"
    filters: dict[str, Scalar | list[Scalar]] = Field(default={}, max_length=50)


class Config(_Strict):
    max_parallel_tasks: int = Field(default=3, ge=1, le=100)
    auto_retry: bool = True
    timeout_seconds: int = Field(default=3600, ge=60, le=86400)


class Runtime(_Strict):
    kind: Literal["external", "pattern"] = "external"
    pattern: str = Field(default="", max_length=64)


class AgentSpec(_Strict):
    metadata: Metadata
    goal: Goal
    triggers: list[Trigger] = Field(default=[], max_length=50)
    skills: list[Token] = Field(default=[], max_length=50)
    config: Config = Config()
    runtime: Runtime = Runtime()


def read(text: str) -> AgentSpec:
    """An agent from YAML or JSON. Raises DefinitionInvalid with the path of each fault."""
    if len(text.encode()) > LIMIT_BYTES:
        raise DefinitionInvalid(path="", reason="must be at most 64 KiB")
    try:
        raw = strict_yaml.load(text)
    except strict_yaml.YamlInvalid as error:
        raise DefinitionInvalid(path="", reason=error.detail) from error
    return check(raw)


def check(raw: Any) -> AgentSpec:
    """An agent from parsed data. Raises DefinitionInvalid with the path of each fault."""
    try:
        spec = AgentSpec.model_validate(raw)
    except ValidationError as error:
        faults = [
            {
                "path": ".".join(map(str, fault["loc"])),
                "code": "unknown_field" if fault["type"] == "extra_forbidden" else fault["type"],
                "message": fault["msg"],
            }
            for fault in error.errors()
        ]
        raise DefinitionInvalid(
            f"{faults[0]['path']}: {faults[0]['message']}", errors=faults
        ) from error
    if spec.runtime.kind == "pattern" and not spec.runtime.pattern:
        raise DefinitionInvalid(path="runtime.pattern", reason="is needed for runtime kind pattern")
    return spec


def content_of(spec: AgentSpec) -> dict[str, Any]:
    """The normal form that is stored and hashed: every default written out."""
    content: dict[str, Any] = spec.model_dump(mode="json")
    if not spec.triggers:
        del content["triggers"]  # versions published before there were any keep their hash
    content["skills"] = sorted({skill.lower() for skill in spec.skills})
    return content


def digest(content: dict[str, Any]) -> str:
    """SHA-256 over canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def precedence(version: str) -> tuple[Any, ...]:
    """A key that sorts semantic versions by their precedence (semver.org, section 11)."""
    core, _, pre = version.partition("-")
    numbers = tuple(int(part) for part in core.split("."))
    # A version without a pre-release comes after all of its pre-releases.
    marks = tuple(
        (0, int(part), "") if re.fullmatch(r"\d+", part) else (1, 0, part)
        for part in pre.split(".")
        if part
    )
    return (*numbers, not pre, marks)
