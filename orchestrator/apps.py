"""Start-up of the orchestrator app."""

from importlib import import_module

from django.apps import AppConfig


class OrchestratorConfig(AppConfig):
    name = "orchestrator"
    label = "orchestrator"
    verbose_name = "Orchestrator"

    def ready(self) -> None:
        from django.utils.module_loading import autodiscover_modules

        autodiscover_modules("receivers")
        import_module("orchestrator.workshop")  # puts its capabilities into the map
        import_module("orchestrator.likeness")  # tells phases how alike two tasks are
        import_module("orchestrator.holding")  # tells guardian whose locks end with an instance
