"""Prepare an installation before its processes start."""

from typing import Any

from django.core.management.base import BaseCommand

from orchestrator import services


class Command(BaseCommand):
    help = "Make the first team, the admin, the price pack, the shipped workflows and tools."

    def handle(self, *_: Any, **__: Any) -> None:
        services.bootstrap()
