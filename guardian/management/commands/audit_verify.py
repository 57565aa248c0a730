"""manage.py audit_verify: proves the ledger of events, or an archive file of it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from guardian import audit
from guardian.chain import LedgerBroken


class Command(BaseCommand):
    """Prints count and head, or the first number at which the chain is broken; then it exits 1."""

    help = "Proves that no event was changed or removed since it was written."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--archive", type=Path, help="a file of archived events instead")

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path | None = options["archive"]
        try:
            proof = audit.verify_archive(path) if path else audit.verify()
        except LedgerBroken as broken:
            raise CommandError(str(broken), returncode=1) from broken
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}", returncode=2) from error
        span = f"{proof.from_seq} to {proof.to_seq}" if proof.count else "none"
        self.stdout.write(f"{proof.count} events ({span}), head {proof.head}")
        if proof.sha256:
            self.stdout.write(f"sha256 {proof.sha256}")
