"""Start-up of the phases app."""

from django.apps import AppConfig


class PhasesConfig(AppConfig):
    name = "phases"
    label = "phases"
    verbose_name = "Phases"

    def ready(self) -> None:
        from django.utils.module_loading import autodiscover_modules

        autodiscover_modules("receivers", "topics", "budget_scopes")
