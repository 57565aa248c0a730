"""Routes of the orchestrator."""

from django.urls import URLPattern, URLResolver, include, path
from rest_framework.routers import SimpleRouter

from orchestrator import api, api_agents

runtime = SimpleRouter(trailing_slash=False, use_regex_path=False)
runtime.register("instances", api_agents.InstanceViewSet, "agent-instance")
runtime.register("executions", api_agents.ExecutionViewSet, "agent-execution")

runtime_urls: list[URLPattern | URLResolver] = [
    path("status", api_agents.RuntimeStatusView.as_view(), name="runtime-status"),
    path("start", api_agents.RuntimeSwitchView.as_view(running=True), name="runtime-start"),
    path("stop", api_agents.RuntimeSwitchView.as_view(running=False), name="runtime-stop"),
    path("", include(runtime.urls)),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/runtime/", include(runtime_urls)),
    path("api/runtime/", include((runtime_urls, "runtime-alias"))),
    path("api/v1/tasks/claim", api.ClaimView.as_view(), name="claim"),
    path("api/v1/tasks/<uuid:pk>/claim", api.ClaimOneView.as_view(), name="claim-one"),
    path("api/v1/tasks/<uuid:pk>/heartbeat", api.HeartbeatView.as_view(), name="heartbeat"),
    path("api/v1/tasks/<uuid:pk>/complete", api.CompleteView.as_view(), name="complete"),
    path("api/v1/tasks/<uuid:pk>/fail", api.FailView.as_view(), name="fail"),
    path("api/v1/tasks/<uuid:pk>/release", api.ReleaseView.as_view(), name="release"),
]
