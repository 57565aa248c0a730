"""manage.py restore DIR: a backup into an empty database."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand
from django.db import connection

from guardian.backups import restoring
from guardian.errors import BackupFailed


class Command(BaseCommand):
    help = "Restores a backup into the database of DATABASE_URL, which must be empty."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            manifest = restoring.restore(options["directory"], connection.get_connection_params())
        except BackupFailed as error:
            raise CommandError(f"{error} {error.remedy_text}") from error
        rows = sum(table["rows"] for table in manifest["tables"].values())
        self.stdout.write(
            f"Restored the backup of {manifest['made_at']}: {len(manifest['tables'])} tables,"
            f" {rows} rows, equal to what was backed up. Its tokens need the peppers"
            f" {', '.join(manifest['pepper_ids'])}; a newer version migrates it at its next start."
        )
