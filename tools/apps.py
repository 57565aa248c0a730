"""Start-up of the tools app."""

from django.apps import AppConfig


class ToolsConfig(AppConfig):
    name = "tools"
    label = "tools"
    verbose_name = "Tools"

    def ready(self) -> None:
        from django.conf import settings
        from django.utils.module_loading import autodiscover_modules

        from tools.sandbox.image import PLACE

        PLACE.data_dir, PLACE.named_image = settings.DATA_DIR, settings.SANDBOX_IMAGE

        autodiscover_modules("receivers")
