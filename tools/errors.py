"""What the tools app refuses."""

from guardian.errors import (
    BodyTooLarge,
    DomainError,
    Forbidden,
    IllegalTransition,
    Invalid,
    NotFound,
    QuotaExceeded,
    RateLimited,
)


class FileMissing(NotFound):
    """This file does not exist here, or it was deleted."""

    code = "file_missing"
    remedy = "Upload the file again: POST /api/v1/files."


class ArtifactQuota(QuotaExceeded):
    """The team's file storage is full."""

    code = "artifact_quota"
    remedy = "Delete files that are no longer needed."


class FileTooLarge(BodyTooLarge):
    """A file may have at most 20 MiB."""

    remedy = "Leave out what is not source, or pack it tighter."


class EmptyFile(Invalid):
    """The request carries no file."""

    remedy = "Send multipart field `file`, or the raw bytes with Content-Disposition."


class ArchiveUnusable(DomainError):
    """This archive is not unpacked."""

    status = 422
    remedy = "Pack the source anew as tar, tar.gz or zip."


class ArchiveInvalid(ArchiveUnusable):
    """This is no archive that can be read."""

    code = "archive_invalid"
    remedy = "Upload a complete tar, tar.gz or zip file."


class ArchiveTooLarge(ArchiveUnusable):
    """This archive unpacks to too much."""

    code = "archive_too_large"
    remedy = "At most 20 MiB packed, 200 MiB and 20 000 files unpacked."


class ArchiveUnsafe(ArchiveUnusable):
    """This archive holds names or devices that are never unpacked."""

    code = "archive_unsafe"
    remedy = "Pack plain files with relative names."


class ToolNotFound(NotFound):
    """There is no such tool here."""

    remedy = "GET /api/v1/tools lists them."


class ToolDenied(Forbidden):
    """You may not use this tool."""

    code = "tool_denied"
    remedy = "Ask an admin for `execute` on this tool."


class SelfApproval(Forbidden):
    """Nobody approves their own revision."""

    code = "self_approval"
    remedy = "Ask another person with `tools:approve`."


class ToolNotActive(DomainError):
    """This tool is not active."""

    code = "tool_inactive"
    remedy = "An admin can activate it."


class ToolQuarantined(DomainError):
    """This tool differs from what was approved and is quarantined."""

    code = "tool_quarantined"
    remedy = "An admin looks at the difference and approves it again."


class ToolRateLimited(RateLimited):
    """This tool was called too often."""

    code = "tool_rate_limited"
    remedy = "Wait as long as Retry-After says."


class HandlerMissing(DomainError):
    """This tool has no handler that can run."""

    code = "handler_error"
    status = 500
    remedy = "An admin gives the tool one of the shipped handlers."


class ExecutionNotOpen(IllegalTransition):
    """This execution has already ended or is held by another worker."""


class ExecutionNotFound(NotFound):
    """There is no such execution here."""
