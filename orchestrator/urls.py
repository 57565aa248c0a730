"""Routes of the orchestrator."""

from django.urls import URLPattern, URLResolver, include, path
from rest_framework.routers import SimpleRouter

from orchestrator import api, api_agents, api_events, api_patterns, fragments

runtime = SimpleRouter(trailing_slash=False, use_regex_path=False)
runtime.register("instances", api_agents.InstanceViewSet, "agent-instance")
runtime.register("executions", api_agents.ExecutionViewSet, "agent-execution")

runtime_urls: list[URLPattern | URLResolver] = [
    path("status", api_agents.RuntimeStatusView.as_view(), name="runtime-status"),
    path(
        "start",
        api_agents.RuntimeSwitchView.as_view(running=True, said="Start placing work again"),
        name="runtime-start",
    ),
    path(
        "stop",
        api_agents.RuntimeSwitchView.as_view(
            running=False, said="Stop placing work; what runs goes on"
        ),
        name="runtime-stop",
    ),
    path("", include(runtime.urls)),
]

patterns = api_patterns.PatternViewSet.as_view
runs = api_patterns.RunViewSet.as_view
pattern_urls: list[URLPattern | URLResolver] = [
    path("patterns", patterns({"get": "list", "post": "create"}), name="patterns"),
    path("patterns/validate", patterns({"post": "check"}), name="pattern-validate"),
    path("patterns/<str:slug>", patterns({"get": "retrieve"}), name="pattern"),
    path("patterns/<str:slug>/versions", patterns({"get": "versions"}), name="pattern-versions"),
    path("patterns/<str:slug>/export", patterns({"get": "export"}), name="pattern-export"),
    path("patterns/<str:slug>/publish", patterns({"post": "publish"}), name="pattern-publish"),
    path(
        "patterns/<str:slug>/deprecate", patterns({"post": "deprecate"}), name="pattern-deprecate"
    ),
    path("patterns/<str:slug>/dry-run", patterns({"post": "dry_run"}), name="pattern-dry-run"),
    path("runs", runs({"get": "list"}), name="runs"),
    path("runs/<uuid:pk>", runs({"get": "retrieve"}), name="run"),
    path("runs/<uuid:pk>/steps", runs({"get": "steps"}), name="run-steps"),
    path("runs/<uuid:pk>/trace", runs({"get": "trace"}), name="run-trace"),
    path("runs/<uuid:pk>/rerun", runs({"post": "rerun"}), name="run-rerun"),
    path("runs/<uuid:pk>/cancel", runs({"post": "cancel"}), name="run-cancel"),
]

event_urls: list[URLPattern | URLResolver] = [
    path("publish", api_events.PublishView.as_view(), name="event-publish"),
    path("types", api_events.TypesView.as_view(), name="event-types"),
    path("alerts/blackscreen", api_events.BlackscreenView.as_view(), name="alert-blackscreen"),
    path("alerts/device-offline", api_events.DeviceOfflineView.as_view(), name="alert-offline"),
    path("builds/deployed", api_events.DeployedView.as_view(), name="build-deployed"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("panel/tickets/<uuid:ticket_id>/runs", fragments.runs, name="panel-runs"),
    path("api/v1/", include(pattern_urls)),
    path("api/v1/runtime/", include(runtime_urls)),
    path("api/runtime/", include((runtime_urls, "runtime-alias"))),
    path("api/v1/events/", include(event_urls)),
    path("api/events/", include((event_urls, "events-outside-alias"))),
    path("api/v1/tasks/claim", api.ClaimView.as_view(), name="claim"),
    path("api/v1/tasks/<uuid:pk>/claim", api.ClaimOneView.as_view(), name="claim-one"),
    path("api/v1/tasks/<uuid:pk>/heartbeat", api.HeartbeatView.as_view(), name="heartbeat"),
    path("api/v1/tasks/<uuid:pk>/complete", api.CompleteView.as_view(), name="complete"),
    path("api/v1/tasks/<uuid:pk>/fail", api.FailView.as_view(), name="fail"),
    path("api/v1/tasks/<uuid:pk>/release", api.ReleaseView.as_view(), name="release"),
]
