"""The rows of tools."""

from tools.models.artifact import FileChunk, ToolArtifact
from tools.models.execution import ToolExecution, ToolExecutionLog
from tools.models.host import SandboxHost
from tools.models.permission import ToolPermission
from tools.models.tool import Tool, ToolVersion

__all__ = [
    "FileChunk",
    "SandboxHost",
    "Tool",
    "ToolArtifact",
    "ToolExecution",
    "ToolExecutionLog",
    "ToolPermission",
    "ToolVersion",
]
