"""A PostgreSQL of its own, for as long as it takes to prove a backup."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

from guardian.backups.programs import site_packages
from guardian.errors import BackupToolMissing

DATABASE = "lemnos"


@contextmanager
def cluster() -> Iterator[dict[str, Any]]:
    """psycopg's parameters for an empty database; all of it is gone afterwards.

    Raises BackupToolMissing, BackupFailed.
    """
    where = site_packages()
    if where is None:
        raise BackupToolMissing(
            "There is no packaged PostgreSQL on this machine to prove a backup with.",
            remedy="Restore it into an empty database with `manage.py restore` instead.",
        )
    # The launcher knows how to run PostgreSQL as any user, root included, and lies beside us.
    sys.path.append(str(settings.BASE_DIR / "script"))
    from launch.place import SHARED, find_place, short_hash
    from launch.postgres import SUPERUSER, Postgres

    directory = Path(tempfile.mkdtemp(prefix="lemnos-backup-", dir="/tmp"))
    try:
        for name in ("pg", "run"):
            (directory / name).mkdir(mode=0o700)
        place = find_place(site_packages=where, data_dir=directory)
        postgres = Postgres(place, directory / "postgres.log", durable=False)
        postgres.ensure_cluster()
        try:
            postgres.start()
            postgres.ensure_database(DATABASE)
            yield {"host": str(place.sockets), "user": SUPERUSER, "dbname": DATABASE}
        finally:
            postgres.stop(hurried=lambda: True)
    finally:
        shutil.rmtree(SHARED / short_hash(directory), ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)
