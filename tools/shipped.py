"""The built-in tools as Lemnos ships them: schema, limits, trust."""

from typing import Any

_FILES = {
    "type": "object",
    "maxProperties": 64,
    "additionalProperties": {"type": "string", "maxLength": 262144},
}
_ARCHIVE = {"type": "string", "format": "uuid"}
_SELECT = {"type": "array", "maxItems": 50, "items": {"type": "string", "maxLength": 200}}
_SECONDS = {"type": "number", "exclusiveMinimum": 0, "maximum": 3600}
_ARGV = {
    "type": "array",
    "minItems": 1,
    "maxItems": 100,
    "items": {"type": "string", "maxLength": 8192},
}
_OUTPUTS = {"type": "array", "maxItems": 64, "items": {"type": "string", "maxLength": 100}}
_ENVIRONMENT = {"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string"}}


def schema(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


_RUN = {
    "stdin_json": {},
    "files": _FILES,
    "environment": _ENVIRONMENT,
    "outputs": _OUTPUTS,
    "timeout_seconds": _SECONDS,
}

SHIPPED: list[dict[str, Any]] = [
    {
        "name": "count_lines",
        "description": "Files, lines, words and bytes of a text or an archive.",
        "function_signature": schema(
            text={"type": "string", "maxLength": 262144}, archive_id=_ARCHIVE
        ),
        "category": "analysis",
        "security_level": "safe",
        "trust": "trusted",
        "idempotent": True,
    },
    {
        "name": "source_inventory",
        "description": "What a source archive holds: files, bytes, lines by language, licence.",
        "function_signature": schema(archive_id=_ARCHIVE),
        "category": "analysis",
        "security_level": "safe",
        "trust": "trusted",
        "idempotent": True,
        "max_execution_seconds": 120,
    },
    {
        "name": "read_artifact",
        "description": "A range of a stored file.",
        "function_signature": schema(
            ["artifact_id"],
            artifact_id=_ARCHIVE,
            offset={"type": "integer", "minimum": 0},
            length={"type": "integer", "minimum": 1, "maximum": 262144},
        ),
        "category": "file_system",
        "security_level": "safe",
        "trust": "trusted",
        "idempotent": True,
    },
    {
        "name": "write_artifact",
        "description": "Store a text or bytes as a file of the team.",
        "function_signature": schema(
            ["name"],
            name={"type": "string", "minLength": 1, "maxLength": 255},
            content={"type": "string", "maxLength": 1048576},
            content_base64={"type": "string", "maxLength": 1400000},
            media_type={"type": "string", "maxLength": 100},
        ),
        "category": "file_system",
        "security_level": "low_risk",
        "trust": "trusted",
    },
    {
        "name": "source_look",
        "description": "Whether a source archive holds a file, and a text in it.",
        "function_signature": schema(
            ["path"],
            archive_id=_ARCHIVE,
            path={"type": "string", "minLength": 1, "maxLength": 500},
            text={"type": "string", "minLength": 1, "maxLength": 10000},
        ),
        "category": "analysis",
        "security_level": "safe",
        "trust": "trusted",
        "idempotent": True,
        "max_execution_seconds": 120,
    },
    {
        "name": "source_command",
        "description": "Run one command, without a shell, in a source archive's top folder.",
        "function_signature": schema(
            ["argv"],
            archive_id=_ARCHIVE,
            argv=_ARGV,
            count_tests={"type": "boolean"},
            timeout_seconds=_SECONDS,
        ),
        "category": "bash",
        "security_level": "high_risk",
        "trust": "untrusted",
        "idempotent": True,
        "requires_sandbox": True,
        "max_execution_seconds": 3600,
        "memory_mb": 1024,
        "tmp_mb": 256,
        "pids": 128,
        "cpus": 1.0,
    },
    {
        "name": "lint_run",
        "description": "ruff over a source archive; the files are parsed, not run.",
        "function_signature": schema(files=_FILES, archive_id=_ARCHIVE, select=_SELECT),
        "category": "analysis",
        "security_level": "low_risk",
        "trust": "reviewed",
        "idempotent": True,
        "requires_sandbox": True,
        "memory_mb": 1024,
        "tmp_mb": 256,
        "cpus": 1.0,
    },
    {
        "name": "pytest_run",
        "description": "Run a source archive's tests; nothing is installed.",
        "function_signature": schema(
            files=_FILES, archive_id=_ARCHIVE, select=_SELECT, timeout_seconds=_SECONDS
        ),
        "category": "code_execution",
        "security_level": "medium_risk",
        "trust": "untrusted",
        "idempotent": True,
        "requires_sandbox": True,
        "max_execution_seconds": 120,
        "memory_mb": 1024,
        "tmp_mb": 256,
        "pids": 128,
        "cpus": 1.0,
    },
    {
        "name": "run_python",
        "description": "Run Python code in a fresh sandbox.",
        "function_signature": schema(
            ["code"], code={"type": "string", "maxLength": 262144}, **_RUN
        ),
        "category": "code_execution",
        "security_level": "medium_risk",
        "trust": "untrusted",
        "requires_sandbox": True,
    },
    {
        "name": "run_command",
        "description": "Run one command, without a shell, in a fresh sandbox.",
        "function_signature": schema(
            ["argv"],
            argv=_ARGV,
            **_RUN,
        ),
        "category": "bash",
        "security_level": "high_risk",
        "trust": "untrusted",
        "requires_sandbox": True,
    },
]
