"""Files, tools, executions and the sandbox's status over HTTP."""

import re
import time
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import quote, unquote
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.authority import own_rows
from guardian.fencing import HEADER as FENCE
from guardian.http import StrictSerializer, TeamViewSet, is_whole_number, once, run_once, validated
from guardian.outbox import defer
from tools import services
from tools.errors import EmptyFile, ExecutionNotFound, FileTooLarge, ToolQuarantined
from tools.models import SandboxHost, Tool, ToolArtifact, ToolExecution
from tools.models.artifact import MAX_FILE_BYTES
from tools.serializers import (
    CancelSerializer,
    EmptySerializer,
    ExecuteSerializer,
    ExecutionSerializer,
    FileSerializer,
    SandboxStatusSerializer,
    ToolSerializer,
)
from tools.services.executions import load_execution
from tools.services.hosts import untrusted_floor

MULTIPART_SLACK = 64 * 1024
POLL_SECONDS = 0.2


class RawParser(BaseParser):
    """Any other content type: the body is the file."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        content = stream.read(MAX_FILE_BYTES + 1)
        return {"raw": content}


def disposition_name(header: str) -> str:
    """The file name of a Content-Disposition header (RFC 6266: filename* before filename)."""
    extended = re.search(r"filename\*\s*=\s*(?:utf-8|iso-8859-1)''([^;]+)", header, re.IGNORECASE)
    if extended:
        return unquote(extended[1])
    plain = re.search(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', header, re.IGNORECASE)
    return (plain[1] or plain[2] or "") if plain else ""


class FileViewSet(TeamViewSet):
    """Uploaded files and those of runs."""

    queryset = ToolArtifact.objects.all()
    serializer_class = FileSerializer
    parser_classes = [MultiPartParser, RawParser]
    scopes: ClassVar[dict[str, str]] = {
        "create": "tickets:write",
        "list": "tickets:read",
        "content": "tickets:read",
        "meta": "tickets:read",
        "destroy": "tickets:write",
    }
    own_once = frozenset({"create"})
    filters: ClassVar[dict[str, str]] = {"name": "name", "sha256": "sha256"}

    @extend_schema(
        request={"multipart/form-data": {"type": "object", "required": ["file"], "properties": {
            "file": {"type": "string", "format": "binary"}}}},
        responses={201: FileSerializer, 200: FileSerializer},
    )  # fmt: skip
    def create(self, request: Request) -> Response:
        """Upload one file of at most 20 MiB; the same bytes again answer the same id."""
        declared = request.META.get("CONTENT_LENGTH") or "0"
        if is_whole_number(declared) and int(declared) > MAX_FILE_BYTES + MULTIPART_SLACK:
            raise FileTooLarge(limit_bytes=MAX_FILE_BYTES)
        name, content, media_type = self._upload(request)

        def store() -> Response:
            artifact, new = services.store_file(
                actor=self.actor, name=name, content=content, media_type=media_type
            )
            return Response(FileSerializer(artifact).data, status=201 if new else 200)

        same = f"{name}\n{media_type}\n{sha256(content).hexdigest()}"
        return once(self, request, store, fingerprint=same)

    def _upload(self, request: Request) -> tuple[str, bytes, str]:
        data: Any = request.data
        if "raw" in data and isinstance(data["raw"], bytes):
            header = request.headers.get("Content-Disposition", "")
            if not data["raw"]:
                raise EmptyFile(path="file", reason="the body is empty")
            if not disposition_name(header):
                raise EmptyFile(path="Content-Disposition", reason="must carry filename")
            return disposition_name(header), data["raw"], request.content_type or ""
        unknown = sorted(set(data) - {"file"})
        if unknown:
            StrictSerializer(data=dict.fromkeys(unknown, "")).is_valid(raise_exception=True)
        upload = data.get("file")
        if not isinstance(upload, UploadedFile):
            raise EmptyFile(path="file", reason="is missing")
        if (upload.size or 0) > MAX_FILE_BYTES:
            raise FileTooLarge(limit_bytes=MAX_FILE_BYTES)
        return upload.name or "file", upload.read(), upload.content_type or ""

    @extend_schema(responses={(200, "*/*"): OpenApiTypes.BINARY})
    def content(self, request: Request, pk: UUID) -> HttpResponse:
        """Download a file: the bytes, always as an attachment."""
        artifact, content = services.open_file(team_id=self.actor.team_id, file_id=pk)
        response = HttpResponse(content, content_type=artifact.media_type)
        response["Content-Disposition"] = (
            f"attachment; filename*=utf-8''{quote(artifact.name, safe='')}"
        )
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "sandbox; default-src 'none'"
        return response

    def meta(self, request: Request, pk: UUID) -> Response:
        """Name, size, type and hash of a file, without its bytes."""
        row = services.file_row(team_id=self.actor.team_id, file_id=pk)
        return Response(FileSerializer(row).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Delete a file that nothing needs any more."""
        services.delete_file(actor=self.actor, file_id=pk)
        return Response(status=204)


class ToolViewSet(TeamViewSet):
    """Tools of the team and the global ones."""

    queryset = Tool.objects.all()
    serializer_class = ToolSerializer
    scopes: ClassVar[dict[str, str]] = {
        "list": "tools:read",
        "retrieve": "tools:read",
        "execute": "tools:execute",
        "history": "tools:read",
    }
    filters: ClassVar[dict[str, str]] = {
        "name": "name",
        "category": "category",
        "security_level": "security_level",
        "status": "status",
    }
    searched = ("name",)
    own_once = frozenset({"execute"})

    def get_queryset(self) -> QuerySet[Tool]:
        if getattr(self, "swagger_fake_view", False):
            return Tool.objects.none()
        return Tool.objects.visible_to(self.actor.team_id)

    @extend_schema(
        request=ExecuteSerializer,
        responses={201: ExecutionSerializer, 202: ExecutionSerializer},
    )
    def execute(self, request: Request, pk: UUID) -> Response:
        """Run the tool; waits up to `wait` seconds without holding a connection.

        The same Idempotency-Key again answers with the same execution as it is by then.
        """
        body = validated(ExecuteSerializer, request.data)
        if request.headers.get("Idempotency-Key"):
            asked = run_once(request, lambda: self._ask(body), on_error=self.handle_exception)
        else:
            asked = self._ask(body)
        if asked.status_code >= 400:
            return asked
        # Waiting comes after the key's transaction: only then can a worker see the run.
        # Under a fence there is one transaction to the answer, so nobody sees the run before it.
        wait = 0 if FENCE in request.headers else body["wait"]
        execution = wait_for(UUID(str(asked.data["execution_id"])), wait)
        headers = {"Location": f"/api/v1/tools/executions/{execution.pk}"}
        if asked.has_header("Idempotency-Replayed"):
            headers["Idempotency-Replayed"] = "true"
        return Response(
            ExecutionSerializer(execution).data,
            status=201 if execution.has_ended else 202,
            headers=headers,
        )

    def _ask(self, body: dict[str, Any]) -> Response:
        try:
            execution = services.request_execution(
                tool=self.get_object(),
                actor=self.actor,
                input=body["input"],
                context=body["context"],
                timeout_seconds=body.get("timeout_seconds"),
            )
        except ToolQuarantined as refusal:
            # An answer, no exception: undoing it would also undo the quarantine it tells of.
            return self.handle_exception(refusal)
        return Response({"execution_id": str(execution.pk)}, status=202)

    @extend_schema(responses=ExecutionSerializer(many=True))
    def history(self, request: Request, pk: UUID) -> Response:
        """The team's executions of this tool, newest first."""
        view = ExecutionViewSet(request=request, format_kwarg=None, action="list")
        tool = self.get_object()
        return view.page_of(view.get_queryset().filter(tool=tool))


def wait_for(execution_id: UUID, seconds: float) -> ToolExecution:
    """The execution when it ended or the time is over; no connection is held meanwhile."""
    end = time.monotonic() + seconds
    while True:
        execution = load_execution(execution_id)
        if execution.has_ended or time.monotonic() >= end:
            return execution
        if not connection.in_atomic_block:
            connection.close()
        time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))


class ExecutionViewSet(TeamViewSet):
    """Runs of tools, as they were observed."""

    queryset = ToolExecution.objects.select_related("tool")
    serializer_class = ExecutionSerializer
    scopes: ClassVar[dict[str, str]] = {
        "list": "tools:read",
        "retrieve": "tools:read",
        "logs": "tools:read",
        "artifacts": "tools:read",
        "cancel": "tools:execute",
    }
    filters: ClassVar[dict[str, str]] = {
        "status": "status",
        "result_class": "result_class",
        "user": "user_id",
        "tool": "tool_id",
        "ticket_id": "context__ticket_id",
        "from": "created_at__gte",
        "to": "created_at__lt",
    }

    def get_queryset(self) -> QuerySet[ToolExecution]:
        rows: QuerySet[ToolExecution] = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        return own_rows(self.actor, rows, "user")

    def page_of(self, rows: QuerySet[ToolExecution]) -> Response:
        page = self.page(rows)
        return page.response(list(ExecutionSerializer(page.rows, many=True).data))

    def _execution(self, pk: UUID) -> ToolExecution:
        row = self.get_queryset().filter(pk=pk).first()
        if not isinstance(row, ToolExecution):
            raise ExecutionNotFound
        return row

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def logs(self, request: Request, pk: UUID) -> Response:
        """Lines of an execution's log in order."""
        lines = self._execution(pk).logs.order_by("seq").values("seq", "level", "source", "message")
        return Response({"results": list(lines), "next": None})

    @extend_schema(responses=FileSerializer(many=True))
    def artifacts(self, request: Request, pk: UUID) -> Response:
        """Files that an execution produced."""
        rows = self._execution(pk).artifacts.order_by("name")
        return Response({"results": FileSerializer(rows, many=True).data, "next": None})

    @extend_schema(request=CancelSerializer, responses={202: ExecutionSerializer})
    def cancel(self, request: Request, pk: UUID) -> Response:
        """Ask an execution to end."""
        body = validated(CancelSerializer, request.data)
        execution = services.cancel_execution(execution_id=pk, actor=self.actor, **body)
        return Response(ExecutionSerializer(execution).data, status=202)


class SandboxViewSet(TeamViewSet):
    """What isolation this installation can offer, with the evidence."""

    queryset = SandboxHost.objects.all()
    serializer_class = SandboxStatusSerializer
    scopes: ClassVar[dict[str, str]] = {"state": "sandbox:read", "probe": "sandbox:admin"}

    def get_queryset(self) -> QuerySet[SandboxHost]:
        return SandboxHost.objects.order_by("name")

    @extend_schema(responses=SandboxStatusSerializer)
    def state(self, request: Request) -> Response:
        """Levels at hand now, hosts, warnings."""
        hosts = list(SandboxHost.objects.live().order_by("name"))
        body = {
            "levels": services.offered_levels(),
            "untrusted_level": untrusted_floor(),
            "warnings": [warning for host in hosts for warning in host.warnings],
            "hosts": hosts,
        }
        return Response(SandboxStatusSerializer(body).data)

    @extend_schema(request=EmptySerializer, responses={202: SandboxStatusSerializer})
    def probe(self, request: Request) -> Response:
        """Let the workers prove their levels again."""
        validated(EmptySerializer, request.data)
        from django.db import transaction

        with transaction.atomic():
            defer("tools.probe_host", queue="sandbox", queueing_lock="tools.probe_host")
        return Response(self.state(request).data, status=202)
