"""Routes of phases."""

from django.urls import URLPattern, URLResolver, include, path
from rest_framework.routers import SimpleRouter

from phases import (
    api,
    api_board,
    api_columns,
    api_discoveries,
    api_gates,
    api_tasks,
    api_workflows,
    views,
)

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("tickets", api.TicketViewSet, "ticket")
router.register("tasks", api_tasks.TaskViewSet, "task")
router.register("discoveries", api_discoveries.DiscoveryViewSet, "discovery")
router.register("workflows", api_workflows.WorkflowViewSet, "workflow")
router.register("phases", api_workflows.PhaseViewSet, "phase")

_GATE = "api/v1/phases/<str:phase>/gate-requirements"

urlpatterns: list[URLPattern | URLResolver] = [
    path(
        _GATE,
        api_gates.GateRequirementViewSet.as_view({"get": "list", "post": "create"}),
        name="gate-requirements",
    ),
    path(
        f"{_GATE}/<uuid:pk>",
        api_gates.GateRequirementViewSet.as_view(
            {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
        ),
        name="gate-requirement",
    ),
    path("api/v1/board", api_board.BoardView.as_view(), name="board-api"),
    path("api/v1/board/cards", api_board.BoardCardsView.as_view(), name="board-cards"),
    path("api/v1/board/graph", api_board.BoardGraphView.as_view(), name="board-graph"),
    path("api/v1/board/columns", api_columns.ColumnsView.as_view(), name="board-columns"),
    path("api/v1/board/columns/<slug:key>", api_columns.ColumnView.as_view(), name="board-column"),
    path(
        "api/v1/board/column/<str:phase>",
        api_columns.ColumnOfPhaseView.as_view(),
        name="board-column-of-phase",
    ),
    path("api/v1/board/stats", api_columns.BoardStatsView.as_view(), name="board-stats"),
    path(
        "api/v1/board/wip-violations",
        api_columns.WipViolationsView.as_view(),
        name="board-wip-violations",
    ),
    path(
        "api/v1/board/auto-transition/<uuid:ticket>",
        api_columns.AutoTransitionView.as_view(),
        name="board-auto-transition",
    ),
    path("api/v1/board/move", api_board.BoardMoveView.as_view(), name="board-move"),
    path("api/v1/board/bulk-move", api_board.BoardBulkMoveView.as_view(), name="board-bulk-move"),
    path("api/v1/", include(router.urls)),
    path("board", views.home, name="boards"),
    path("board/<slug:workflow>", views.page, name="board"),
    path("board/<slug:workflow>/tickets/<int:number>", views.page, name="ticket-panel"),
]
