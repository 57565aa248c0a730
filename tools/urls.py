"""Routes of tools; /tools is an alias of the API root."""

from typing import Any

from django.urls import URLPattern, path

from tools.api import ExecutionViewSet, FileViewSet, SandboxViewSet, ToolViewSet

FILES = "api/v1/files"


def tool_routes(root: str, alias: str = "") -> list[URLPattern]:
    def route(where: str, view: Any, name: str) -> URLPattern:
        made: URLPattern = path(f"{root}{where}", view, name=f"{alias}{name}")
        return made

    run = ExecutionViewSet.as_view
    return [
        route("", ToolViewSet.as_view({"get": "list"}), "tools"),
        route("/executions", run({"get": "list"}), "executions"),
        route("/executions/<uuid:pk>", run({"get": "retrieve"}), "execution"),
        route("/executions/<uuid:pk>/logs", run({"get": "logs"}), "execution-logs"),
        route("/executions/<uuid:pk>/artifacts", run({"get": "artifacts"}), "execution-artifacts"),
        route("/executions/<uuid:pk>/cancel", run({"post": "cancel"}), "execution-cancel"),
        route("/<uuid:pk>", ToolViewSet.as_view({"get": "retrieve"}), "tool"),
        route("/<uuid:pk>/execute", ToolViewSet.as_view({"post": "execute"}), "tool-execute"),
        route("/<uuid:pk>/history", ToolViewSet.as_view({"get": "history"}), "tool-history"),
    ]


urlpatterns = [
    path(FILES, FileViewSet.as_view({"post": "create", "get": "list"}), name="files"),
    path(
        f"{FILES}/<uuid:pk>",
        FileViewSet.as_view({"get": "content", "delete": "destroy"}),
        name="file",
    ),
    path(f"{FILES}/<uuid:pk>/meta", FileViewSet.as_view({"get": "meta"}), name="file-meta"),
    path("api/v1/sandbox/status", SandboxViewSet.as_view({"get": "state"}), name="sandbox-status"),
    path("api/v1/sandbox/probe", SandboxViewSet.as_view({"post": "probe"}), name="sandbox-probe"),
    *tool_routes("api/v1/tools"),
    *tool_routes("tools", "alias-"),
]
