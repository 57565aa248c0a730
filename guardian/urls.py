"""Guardian's routes."""

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularSwaggerView
from rest_framework.routers import SimpleRouter

from guardian import (
    api,
    api_budgets,
    api_events,
    api_locks,
    api_schedules,
    api_webhooks,
    fragments,
    health,
    operator_pages,
    scrape,
    views,
)
from guardian.logins import throttled

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("tokens", api.TokenViewSet, "token")
router.register("webhooks", api_webhooks.WebhookViewSet, "webhook")
router.register("locks/requests", api_locks.LockRequestViewSet, "lock-request")
router.register("locks", api_locks.LockViewSet, "lock")
router.register("costs/budgets", api_budgets.BudgetViewSet, "budget")
events = SimpleRouter(trailing_slash=False, use_regex_path=False)
events.register("events/schedules", api_schedules.ScheduleViewSet, "schedule")
events.register("events", api_events.EventViewSet, "event")


class DocsView(SpectacularSwaggerView):
    """The API to try out, from local files only."""

    permission_classes = []
    authentication_classes = []
    template_name = "guardian/docs.html"


urlpatterns: list[URLPattern | URLResolver] = [
    path("panel/tickets/<uuid:ticket_id>/cost", fragments.cost, name="panel-cost"),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", scrape.metrics, name="metrics"),
    path("", views.home, name="home"),
    path("login", throttled(views.LoginView.as_view()), name="login"),
    path("team", views.choose_team, name="choose-team"),
    path("operators/waiting", operator_pages.waiting, name="operators-waiting"),
    path("operators/health", operator_pages.health, name="operators-health"),
    path("password", views.password, name="password"),
    path("logout", views.LogoutView.as_view(), name="logout"),
    path("api/schema", views.schema, name="schema"),
    path("api/docs", DocsView.as_view(url_name="schema"), name="docs"),
    path("llms.txt", views.llms_txt, name="llms-txt"),
    path("docs/errors", views.error_pages, name="error-pages"),
    path("docs/errors/<str:code>", views.error_page, name="error-page"),
    path("api/v1/", include(router.urls)),
    path(
        "api/v1/webhooks/<uuid:webhook_id>/deliveries",
        api_webhooks.WebhookDeliveryViewSet.as_view({"get": "list"}),
        name="webhook-deliveries",
    ),
    path(
        "api/v1/webhooks/deliveries/<uuid:pk>/redeliver",
        api_webhooks.WebhookDeliveryViewSet.as_view({"post": "redeliver"}),
        name="webhook-redeliver",
    ),
    path("api/v1/", include(events.urls)),
    path("api/", include((events.urls, "events-alias"))),
]
