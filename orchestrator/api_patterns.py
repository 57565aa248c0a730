"""The REST API of patterns and their runs."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from guardian.errors import Invalid, NotFound
from guardian.http import StrictSerializer, TeamViewSet, etag_of, validated
from orchestrator import services
from orchestrator.models import ExecutionPattern, PatternRun, StepRun
from orchestrator.pattern_files import FILE_PARSERS
from orchestrator.trace import build_trace

VERSION = OpenApiParameter("version", str, description="A version; else the newest published one.")


class PatternSerializer(serializers.ModelSerializer[ExecutionPattern]):
    id = serializers.CharField(source="slug")
    shipped = serializers.BooleanField(source="is_shipped")

    class Meta:
        model = ExecutionPattern
        fields: tuple[str, ...] = (
            "id", "version", "name", "state", "shipped", "content_hash", "revision",
            "created_at", "updated_at",
        )  # fmt: skip


class PatternDetailSerializer(PatternSerializer):
    class Meta(PatternSerializer.Meta):
        fields = (*PatternSerializer.Meta.fields, "normal")


class RunSerializer(serializers.ModelSerializer[PatternRun]):
    pattern = serializers.CharField(source="pattern.slug")
    version = serializers.CharField(source="pattern.version")
    ticket = serializers.UUIDField(source="ticket_id", allow_null=True)
    task = serializers.UUIDField(source="task_id", allow_null=True)
    started_by = serializers.UUIDField(source="started_by_id")

    class Meta:
        model = PatternRun
        fields: tuple[str, ...] = (
            "id", "pattern", "version", "content_hash", "state", "inputs", "outputs", "warnings",
            "error_code", "error_step", "attempt", "ticket", "task", "started_by", "parent_run",
            "cached_from", "created_at", "started_at", "finished_at", "deadline",
        )  # fmt: skip


class RunDetailSerializer(RunSerializer):
    progress = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "ctx", "progress", "error")

    def get_progress(self, run: PatternRun) -> dict[str, int]:
        steps = list(run.steps.all())
        return {"ended": sum(step.is_ended for step in steps), "total": len(steps)}

    def get_error(self, run: PatternRun) -> str:
        """What the failed step said."""
        return next((step.error for step in run.steps.all() if step.step_id == run.error_step), "")


class StepSerializer(serializers.ModelSerializer[StepRun]):
    class Meta:
        model = StepRun
        fields = (
            "id", "step_id", "position", "capability", "agent", "state", "args", "result",
            "metadata", "cached", "attempt", "reason", "error_code", "error", "started_at",
            "finished_at",
        )  # fmt: skip


class WhichVersion(StrictSerializer):
    version = serializers.CharField(max_length=40, required=False)


class DryRun(StrictSerializer):
    version = serializers.CharField(max_length=40, required=False)
    inputs = serializers.DictField(default=dict)
    fixtures = serializers.DictField(child=serializers.DictField(), default=dict)


class Cancel(StrictSerializer):
    reason = serializers.CharField(min_length=3, max_length=500)


FILE_ANSWERS = {
    (200, "application/json"): OpenApiTypes.OBJECT,
    (200, "application/yaml"): OpenApiTypes.STR,
}


class PatternViewSet(TeamViewSet):
    """Plans of steps over capabilities: the team's own and the shipped ones."""

    queryset = ExecutionPattern.objects.all()
    serializer_class = PatternSerializer
    scopes: ClassVar[dict[str, str]] = {
        "list": "patterns:read",
        "create": "patterns:write",
        "check": "patterns:read",
        "retrieve": "patterns:read",
        "versions": "patterns:read",
        "export": "patterns:read",
        "publish": "patterns:publish",
        "deprecate": "patterns:publish",
        "dry_run": "patterns:read",
    }
    reading_posts = frozenset({"check", "dry_run"})
    filters: ClassVar[dict[str, str]] = {
        "id": "slug",
        "state": "state",
        "version": "version",
        "shipped": "team__isnull",
    }
    searched = ("name",)

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return ExecutionPattern.objects.none()
        return ExecutionPattern.objects.visible_to(self.actor.team_id)

    def get_parsers(self) -> list[BaseParser]:
        if self.action_map.get((self.request.method or "").lower()) in {"create", "check"}:
            return [parser() for parser in FILE_PARSERS]
        return super().get_parsers()

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        self.request = request  # get_parsers is asked before DRF sets it
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(request=OpenApiTypes.OBJECT, responses={201: PatternDetailSerializer})
    def create(self, request: Request) -> Response:
        """Store a pattern file, JSON or YAML, as a draft; a draft of that version is replaced."""
        pattern, new = services.register_pattern(text=_file(request), actor=self.actor)
        return Response(
            PatternDetailSerializer(pattern).data,
            status=201 if new else 200,
            headers={"ETag": etag_of(pattern)},
        )

    @extend_schema(request=OpenApiTypes.OBJECT, responses=OpenApiTypes.OBJECT)
    def check(self, request: Request) -> Response:
        """Judge a pattern file without storing it: its normal form, or every fault."""
        normal, content_hash = services.read_pattern(_file(request))
        return Response({"valid": True, "content_hash": content_hash, "normal": normal})

    @extend_schema(parameters=[VERSION], responses=PatternDetailSerializer)
    def retrieve(self, request: Request, slug: str) -> Response:  # type: ignore[override]  # by slug
        """Show a pattern: the published version, or the one that is asked for."""
        pattern = self._found(slug)
        headers = {"ETag": etag_of(pattern)}
        return Response(PatternDetailSerializer(pattern).data, headers=headers)

    @extend_schema(responses=PatternSerializer(many=True))
    def versions(self, request: Request, slug: str) -> Response:
        """Every version of a pattern, the newest first."""
        found = services.pattern_versions(team_id=self.actor.team_id, slug=slug)
        return Response({"results": PatternSerializer(found, many=True).data, "next": None})

    @extend_schema(parameters=[VERSION], responses=FILE_ANSWERS)
    def export(self, request: Request, slug: str) -> HttpResponse:
        """The file as it was given: sent back, it has the same hash."""
        pattern = self._found(slug)
        kind = "json" if pattern.source.lstrip().startswith("{") else "yaml"
        response = HttpResponse(pattern.source, content_type=f"application/{kind}; charset=utf-8")
        name = f"{pattern.slug}-{pattern.version}.{kind}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        response["X-Content-Type-Options"] = "nosniff"
        return response

    @extend_schema(request=WhichVersion, responses=PatternSerializer)
    def publish(self, request: Request, slug: str) -> Response:
        """Let runs start from a draft; from here on it never changes."""
        version = validated(WhichVersion, request.data).get("version")
        pattern = services.publish_pattern(slug=slug, version=version, actor=self.actor)
        return Response(PatternSerializer(pattern).data, headers={"ETag": etag_of(pattern)})

    @extend_schema(request=WhichVersion, responses=PatternSerializer)
    def deprecate(self, request: Request, slug: str) -> Response:
        """No new run starts from this version."""
        version = validated(WhichVersion, request.data).get("version")
        pattern = services.deprecate_pattern(slug=slug, version=version, actor=self.actor)
        return Response(PatternSerializer(pattern).data, headers={"ETag": etag_of(pattern)})

    @extend_schema(request=DryRun, responses=OpenApiTypes.OBJECT)
    def dry_run(self, request: Request, slug: str) -> Response:
        """What a run would do and cost: nothing is called, nothing written."""
        body = validated(DryRun, request.data)
        pattern = services.find_pattern(
            team_id=self.actor.team_id, slug=slug, version=body.pop("version", None),
            published=False,
        )  # fmt: skip
        return Response(services.dry_run(pattern=pattern, team_id=self.actor.team_id, **body))

    def _found(self, slug: str) -> ExecutionPattern:
        version = self.request.query_params.get("version")
        return services.shown_pattern(team_id=self.actor.team_id, slug=slug, version=version)


def _file(request: Request) -> str:
    data: Any = request.data
    if not isinstance(data, dict) or "text" not in data:
        raise Invalid("Send the pattern file as the body, JSON or YAML.")
    return str(data["text"])


class RunViewSet(TeamViewSet):
    """Runs of patterns, with their steps and what they did."""

    queryset = PatternRun.objects.select_related("pattern")
    serializer_class = RunSerializer
    scopes: ClassVar[dict[str, str]] = {
        "list": "runs:read",
        "retrieve": "runs:read",
        "steps": "runs:read",
        "trace": "runs:read",
        "cancel": "runs:write",
        "rerun": "patterns:execute",
    }
    filters: ClassVar[dict[str, str]] = {
        "state": "state",
        "pattern": "pattern__slug",
        "version": "pattern__version",
        "ticket": "ticket_id",
        "task": "task_id",
        "started_by": "started_by_id",
        "error_code": "error_code",
        "created_at": "created_at",
    }

    @extend_schema(responses=RunDetailSerializer)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Show a run with its result, or what went wrong."""
        return Response(RunDetailSerializer(self._run()).data)

    @extend_schema(responses=StepSerializer(many=True))
    def steps(self, request: Request, pk: UUID) -> Response:
        """The steps in the order of the pattern."""
        rows = self._run().steps.order_by("position")
        return Response({"results": StepSerializer(rows, many=True).data, "next": None})

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def trace(self, request: Request, pk: UUID) -> Response:
        """Facts the run was pinned to, agents, sources, and how each step ended."""
        return Response(build_trace(self._run()))

    @extend_schema(request=Cancel, responses=RunSerializer)
    def cancel(self, request: Request, pk: UUID) -> Response:
        """Call off an open run: one's own, or any with `runs:operate`."""
        reason = validated(Cancel, request.data)["reason"]
        run = services.cancel_run(run_id=self._run().pk, actor=self.actor, reason=reason)
        return Response(RunSerializer(run).data)

    @extend_schema(request=None, responses={202: RunSerializer})
    def rerun(self, request: Request, pk: UUID) -> Response:
        """The same question again, over the facts of now."""
        validated(StrictSerializer, request.data)
        run = services.rerun(run_id=self._run().pk, actor=self.actor)
        return Response(RunSerializer(run).data, status=202)

    def _run(self) -> PatternRun:
        run = self.get_queryset().filter(pk=self.kwargs["pk"]).first()
        if run is None:
            raise NotFound("There is no such run here.")
        return run
