"""A tool's passport: everything that decides what would run, and its hash."""

import hashlib
import json
from typing import Any

from tools.models import Tool
from tools.registry import HANDLERS, code_hash


def snapshot(tool: Tool) -> dict[str, Any]:
    """The hashed facts of a tool, with the hash of the code behind its handler."""
    callable_name = str(tool.handler.get("callable", ""))
    return {
        "name": tool.name,
        "version": tool.version,
        "description": tool.description,
        "function_signature": tool.function_signature,
        "output_schema": tool.output_schema,
        "handler_kind": tool.handler_kind,
        "handler": tool.handler,
        "code": code_hash(callable_name) if callable_name in HANDLERS else "",
        "image": tool.sandbox_image,
        "limits": tool.limits,
        "security_level": tool.security_level,
        "trust": tool.trust,
        "dependencies": tool.dependencies,
    }


def hash_of(facts: dict[str, Any]) -> str:
    """SHA-256 of canonical JSON."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def difference(approved: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    """Each differing field: [approved, now]."""
    return {
        key: [approved.get(key), now.get(key)]
        for key in sorted(approved.keys() | now.keys())
        if approved.get(key) != now.get(key)
    }
