"""Make a backup: pg_dump and the manifest read one and the same snapshot."""

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection as database

from guardian.backups import contents, programs
from guardian.errors import BackupFailed

FORMAT = 1
DUMP, MANIFEST, SUMS = "database.dump", "manifest.json", "SHA256SUMS"


def make(directory: Path, *, label: str = "") -> Path:
    """A new backup below `directory`; it gets its name when it is whole, and `secrets/` stay out.

    Raises BackupToolMissing, BackupFailed.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made_at = datetime.now(UTC)
    target = directory / (f"{made_at:%Y%m%dT%H%M%S.%fZ}" + (f"-{label}" if label else ""))
    draft = target.with_name(f"{target.name}.new")
    draft.mkdir(mode=0o700)
    try:
        manifest = _fill(draft, made_at)
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        names = (DUMP, MANIFEST)
        sums = "".join(f"{sha256_of(draft / name)}  {name}\n" for name in names)
        (draft / SUMS).write_text(sums)
        for name in (*names, SUMS):
            (draft / name).chmod(0o600)
            _settle(draft / name)
        _settle(draft)
        draft.rename(target)
        _settle(directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def _fill(draft: Path, made_at: datetime) -> dict[str, Any]:
    parameters: dict[str, Any] = database.get_connection_params()
    with contents.session(parameters) as reading:
        tool = programs.program("pg_dump", server_version=reading.info.server_version)
        row = reading.execute("SELECT pg_export_snapshot()").fetchone()
        snapshot = str(row[0]) if row else ""
        dump = draft / DUMP
        command = [tool, "--format=custom", "--no-owner", "--no-privileges"]
        dumping = programs.start([*command, f"--snapshot={snapshot}", f"--file={dump}"], parameters)
        try:
            told = _tell(reading)  # while it dumps: both see the same rows
            _, said = dumping.communicate()
        finally:
            if dumping.poll() is None:
                dumping.kill()
                dumping.wait()
    if dumping.returncode != 0:
        raise BackupFailed(f"pg_dump ended with {dumping.returncode}: {said.strip()[:1000]}")
    return {
        "format": FORMAT,
        "made_at": made_at.isoformat(),
        "version": lemnos_version(),
        "pepper_ids": list(settings.TOKEN_PEPPERS),
        "embedding_provider": settings.EMBEDDING_PROVIDER,
        "dump": {"file": DUMP, "bytes": dump.stat().st_size, "sha256": sha256_of(dump)},
        **told,
    }


def _tell(reading: Any) -> dict[str, Any]:
    return {
        "postgres": reading.info.server_version,
        "migrations": contents.migrations(reading),
        "tables": contents.tables(reading),
        "ledger": contents.ledger_head(reading),
        "embedding_models": contents.embedding_models(reading),
        "searches": contents.searches(reading),
    }


def lemnos_version() -> str:
    try:
        return version("lemnos")
    except PackageNotFoundError:  # run from its source tree
        text = (settings.BASE_DIR / "pyproject.toml").read_text()
        return text.partition('version = "')[2].partition('"')[0]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(path: Path) -> None:
    """On the disk, not only on its way there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
