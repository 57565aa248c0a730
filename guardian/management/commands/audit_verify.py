"""manage.py audit_verify: proves the ledger of events, or an archive file of it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from guardian import audit
from guardian.chain import LedgerBroken

EXPORT_GIVEN = (
    "{path} is an export of one team, whose numbers have gaps, each line as it was written; "
    "--archive wants a whole stretch of the ledger (<data directory>/archive/events-*.jsonl), "
    "--export proves an export."
)
EXPORT_PROVEN = (
    "{proof.count} events of one team, each as it was written; the numbers between {proof.from_seq}"
    " and {proof.to_seq} that are not here belong to others or to other filters."
)


def _proof(path: Path | None, *, is_archive: bool) -> audit.Proof:
    if path is None:
        return audit.verify()
    return audit.verify_archive(path) if is_archive else audit.verify_export(path)


class Command(BaseCommand):
    """Prints count and head, or the first number at which the chain is broken; then it exits 1."""

    help = "Proves that no event was changed or removed since it was written."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        files = parser.add_mutually_exclusive_group()
        files.add_argument(
            "--archive", type=Path, help="a whole stretch of the ledger: DATA_DIR/archive/*.jsonl"
        )
        files.add_argument(
            "--export", type=Path, help="an export of one team as JSON lines, each line by itself"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path | None = options["archive"] or options["export"]
        try:
            proof = _proof(path, is_archive=options["archive"] is not None)
        except LedgerBroken as broken:
            raise CommandError(str(broken), returncode=1) from broken
        except audit.NotAnArchive as other:
            raise CommandError(EXPORT_GIVEN.format(path=path), returncode=2) from other
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}", returncode=2) from error
        if options["export"]:
            self.stdout.write(EXPORT_PROVEN.format(proof=proof))
            return
        span = f"{proof.from_seq} to {proof.to_seq}" if proof.count else "none"
        self.stdout.write(f"{proof.count} events ({span}), head {proof.head}")
        if proof.sha256:
            self.stdout.write(f"sha256 {proof.sha256}")
