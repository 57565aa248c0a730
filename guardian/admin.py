"""Guardian in the operators' admin."""

from django.contrib import admin

from guardian import models
from guardian.operators import RecordAdmin


@admin.register(models.User)
class UserAdmin(RecordAdmin):
    list_display = ["username", "display_name", "kind", "is_staff", "is_active", "created_at"]
    list_filter = ["kind", "is_staff", "is_active"]
    search_fields = ["username", "display_name"]
    exclude = ["password"]


@admin.register(models.Team)
class TeamAdmin(RecordAdmin):
    list_display = ["name", "slug", "created_at"]
    search_fields = ["name", "slug"]


@admin.register(models.Membership)
class MembershipAdmin(RecordAdmin):
    list_display = ["user", "team", "role", "authority"]
    list_filter = ["role", "authority"]
    list_select_related = ["user", "team"]
    search_fields = ["user__username", "team__slug"]


@admin.register(models.ApiToken)
class ApiTokenAdmin(RecordAdmin):
    list_display = ["name", "key_id", "user", "team", "can_write", "expires_at", "revoked_at"]
    list_filter = ["can_write", "team"]
    list_select_related = ["user", "team"]
    search_fields = ["name", "key_id", "user__username"]
    exclude = ["secret_hash", "pepper_id"]


@admin.register(models.Event)
class EventAdmin(RecordAdmin):
    list_display = ["seq", "kind", "actor", "subject_label", "subject_id", "created_at"]
    list_filter = ["priority", "source", "actor_kind"]
    list_select_related = ["actor"]
    search_fields = ["kind", "subject_id"]
    ordering = ["-created_at"]


@admin.register(models.Delivery)
class DeliveryAdmin(RecordAdmin):
    list_display = ["seq", "handler", "state", "attempts", "duration_ms", "processed_at"]
    list_filter = ["state", "handler"]
    search_fields = ["handler"]
    ordering = ["-id"]


@admin.register(models.IdempotencyKey)
class IdempotencyKeyAdmin(RecordAdmin):
    list_display = ["key", "owner", "status", "created_at"]
    list_filter = ["status"]
    search_fields = ["key"]


@admin.register(models.ErrorLog)
class ErrorLogAdmin(RecordAdmin):
    list_display = ["error_type", "component", "severity", "count", "last_seen_at", "resolved_at"]
    list_filter = ["severity", "component"]
    search_fields = ["error_type", "error_message"]


@admin.register(models.GuardianAction)
class GuardianActionAdmin(RecordAdmin):
    list_display = ["kind", "state", "team", "initiated_by", "reason", "created_at"]
    list_filter = ["kind", "state"]
    list_select_related = ["team", "initiated_by"]
    search_fields = ["reason", "target_id"]


@admin.register(models.ResourceLock)
class ResourceLockAdmin(RecordAdmin):
    list_display = ["resource_type", "resource_id", "mode", "state", "holder", "expires_at"]
    list_filter = ["state", "mode", "resource_type"]
    list_select_related = ["holder"]
    search_fields = ["resource_id"]


@admin.register(models.PricePack)
class PricePackAdmin(RecordAdmin):
    list_display = ["id", "asof_date", "status", "built_at"]
    list_filter = ["status"]
    search_fields = ["id"]


@admin.register(models.Budget)
class BudgetAdmin(RecordAdmin):
    list_display = ["scope_type", "scope_id", "team", "limit", "spent", "reserved", "period"]
    list_filter = ["scope_type", "period"]
    list_select_related = ["team"]
    search_fields = ["scope_id"]


@admin.register(models.CostRecord)
class CostRecordAdmin(RecordAdmin):
    list_display = ["kind", "amount", "provider", "model", "ticket_id", "task_id", "created_at"]
    list_filter = ["kind", "provider"]
    search_fields = ["ticket_id", "task_id", "model"]


@admin.register(models.WorkerHost)
class WorkerHostAdmin(RecordAdmin):
    list_display = ["name", "queues", "concurrency", "started_at", "heartbeat_at"]
    search_fields = ["name"]
