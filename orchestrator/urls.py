"""Routes of the orchestrator."""

from django.urls import URLPattern, path

from orchestrator import api

urlpatterns: list[URLPattern] = [
    path("api/v1/tasks/claim", api.ClaimView.as_view(), name="claim"),
    path("api/v1/tasks/<uuid:pk>/claim", api.ClaimOneView.as_view(), name="claim-one"),
    path("api/v1/tasks/<uuid:pk>/heartbeat", api.HeartbeatView.as_view(), name="heartbeat"),
    path("api/v1/tasks/<uuid:pk>/complete", api.CompleteView.as_view(), name="complete"),
    path("api/v1/tasks/<uuid:pk>/fail", api.FailView.as_view(), name="fail"),
    path("api/v1/tasks/<uuid:pk>/release", api.ReleaseView.as_view(), name="release"),
]
