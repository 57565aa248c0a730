"""Background work in the operators' admin: what waits, runs, failed, and who does it."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from procrastinate.contrib.django import models as work

from guardian import services
from guardian.authority import GUARDIAN, Actor
from guardian.operators import RecordAdmin, reasoned_action

# The package's own pages act at once, without a reason.
for _model in (work.ProcrastinateJob, work.ProcrastinateWorker, work.ProcrastinateEvent):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)
work.ProcrastinateJob._meta.verbose_name = "background job"
work.ProcrastinateJob._meta.verbose_name_plural = "background jobs"
work.ProcrastinateEvent._meta.verbose_name = "step of a background job"
work.ProcrastinateEvent._meta.verbose_name_plural = "steps of background jobs"
work.ProcrastinateWorker._meta.verbose_name = "lane of a worker"
work.ProcrastinateWorker._meta.verbose_name_plural = "lanes of workers"

_TONES = {"todo": "wait", "doing": "run", "succeeded": "ok", "failed": "bad", "aborted": "bad"}


class InstallationAdmin(RecordAdmin):
    """Rows of the whole installation: arguments of jobs name rows of any team."""

    section = "Events"
    team_path = None
    view_level = GUARDIAN


@admin.register(work.ProcrastinateJob)
class JobAdmin(InstallationAdmin):
    icon = "engineering"
    when_empty = "Nothing was ever put off; agents, webhooks and upkeep bring jobs."
    list_display = ["task_name", "state", "queue_name", "attempts", "scheduled_at", "worker", "id"]
    list_filter = ["status", "queue_name"]
    search_fields = ["task_name", "=id", "=lock", "=queueing_lock"]
    ordering = ["-id"]

    @admin.display(description="status", ordering="status")
    def state(self, row: work.ProcrastinateJob) -> SafeString:
        tone = _TONES.get(row.status, "none")
        return format_html('<span class="lem-badge lem-{}">{}</span>', tone, row.status)

    @reasoned_action(
        label="Try again now",
        scope=services.JOB_SCOPE,
        level=GUARDIAN,
        fits=lambda job: job.status == "failed",
    )
    def retry(self, *, actor: Actor, row: work.ProcrastinateJob, reason: str) -> None:
        """A worker takes this job up at once, with all its attempts before it."""
        services.retry_job(actor=actor, job_id=row.pk, reason=reason)

    @reasoned_action(
        label="Call off",
        scope=services.JOB_SCOPE,
        level=GUARDIAN,
        danger=True,
        fits=lambda job: job.status in {"todo", "doing"},
    )
    def call_off(self, *, actor: Actor, row: work.ProcrastinateJob, reason: str) -> None:
        """Takes a waiting job back for good; a running one is asked to stop and may still end."""
        services.cancel_job(actor=actor, job_id=row.pk, reason=reason)


@admin.register(work.ProcrastinateEvent)
class JobStepAdmin(InstallationAdmin):
    icon = "footprint"
    list_display = ["id", "job", "type", "at"]
    list_filter = ["type"]
    search_fields = ["job__task_name", "=job__id"]
    ordering = ["-id"]


@admin.register(work.ProcrastinateWorker)
class LaneAdmin(InstallationAdmin):
    icon = "conveyor_belt"
    when_empty = "No worker runs: start one with `manage.py worker`."
    list_display = ["id", "last_heartbeat"]
    list_filter = ["last_heartbeat"]
    search_fields = ["=id"]


# Their own names hold all arguments, or a time without its zone.
for _model, _told in (
    (work.ProcrastinateJob, lambda row: f"{row.task_name} ({row.pk})"),
    (work.ProcrastinateEvent, lambda row: f"{row.type} {row.pk}"),
    (work.ProcrastinateWorker, lambda row: f"lane {row.pk}"),
):
    setattr(_model, "__str__", _told)  # noqa: B010  a name of a class that is not ours
