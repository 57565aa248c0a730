"""The one place where procrastinate's app is adjusted."""

from procrastinate import App


def configure(app: App) -> None:
    """Jobs are found in each app's `jobs` module; all share one way to be wrapped and retried."""
    from guardian.job_context import around_each_job
    from guardian.job_watch import watch
    from guardian.retries import STRATEGY

    app.perform_import_paths()
    app.worker_defaults["worker_middleware"] = [around_each_job, watch]
    for task in app.tasks.values():
        if task.retry_strategy is None and not task.name.startswith("builtin:"):
            task.retry_strategy = STRATEGY
