"""manage.py verify_backup DIR: proves a backup in a PostgreSQL of its own."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from guardian.backups import verifying
from guardian.errors import BackupFailed


class Command(BaseCommand):
    help = "Restores a backup into a scratch database; compares rows, ledger and vector searches."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            proof = verifying.verify(options["directory"])
        except BackupFailed as error:
            raise CommandError(f"{error} {error.remedy_text}") from error
        self.stdout.write(
            f"The backup is good: {proof.tables} tables, {proof.rows} rows, {proof.events} events"
            f" in an unbroken chain, {proof.searches} searches with the same answers."
        )
