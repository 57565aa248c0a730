"""manage.py backup: the database as it is now, into a directory of its own."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import CommandError
from django.core.management.base import BaseCommand

from guardian.backups import making
from guardian.errors import BackupFailed


class Command(BaseCommand):
    help = "Makes a backup from one snapshot, while everything goes on; prints where it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        where = settings.DATA_DIR / "backups"
        parser.add_argument("--to", type=Path, default=where, metavar="DIR", help=f"[{where}]")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            made = making.make(options["to"])
        except BackupFailed as error:
            raise CommandError(f"{error} {error.remedy_text}") from error
        self.stdout.write(str(made))
