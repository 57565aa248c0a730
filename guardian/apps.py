"""Start-up of the guardian app."""

from django.apps import AppConfig


class GuardianConfig(AppConfig):
    name = "guardian"
    label = "guardian"
    verbose_name = "Guardian"

    def ready(self) -> None:
        from django.utils.module_loading import autodiscover_modules

        from guardian import reports, tracing

        autodiscover_modules("checks", "receivers", "readings")
        reports.start()
        tracing.start()
