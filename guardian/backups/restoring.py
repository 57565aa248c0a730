"""Restore a backup: first its files are proved, then only an empty database takes it."""

import json
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.migrations.loader import MigrationLoader

from guardian.backups import contents, programs
from guardian.backups.making import DUMP, FORMAT, MANIFEST, SUMS, sha256_of
from guardian.errors import BackupDamaged, BackupFailed, DatabaseNotEmpty

_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")


def read(directory: Path) -> dict[str, Any]:
    """The manifest of a backup whose files are as they were written. Raises BackupDamaged."""
    if not (directory / SUMS).is_file():
        raise BackupDamaged(
            f"{directory} is no backup: it has no {SUMS}.",
            file=SUMS,
            remedy="Name the directory that a backup printed, with its date in its name.",
        )
    lines = (directory / SUMS).read_text(errors="replace").splitlines()
    expected = {found[2]: found[1] for line in lines if (found := _SUM.fullmatch(line))}
    for name in (DUMP, MANIFEST):
        if name not in expected:
            raise BackupDamaged(f"{SUMS} does not name {name}.", file=SUMS)
        if not (directory / name).is_file():
            raise BackupDamaged(f"{name} is missing.", file=name)
        actual = sha256_of(directory / name)
        if actual != expected[name]:
            raise BackupDamaged(
                f"{name} is not what was written: its SHA-256 is {actual}, {SUMS} says"
                f" {expected[name]}.",
                file=name,
            )
    manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
    if manifest["format"] != FORMAT:
        raise BackupFailed(f"This backup has format {manifest['format']}, known is {FORMAT}.")
    return manifest


def restore(directory: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Fill an empty database and compare it with the manifest, which is returned.

    Raises BackupDamaged, BackupToolMissing, BackupFailed, DatabaseNotEmpty.
    """
    manifest = read(directory)
    _refuse_newer(manifest)
    with contents.session(parameters) as reading:
        filled = sorted(contents.names(reading))
        server = reading.info.server_version
    if filled:
        raise DatabaseNotEmpty(
            f"This database has {len(filled)} tables already, such as {filled[0]}.",
            tables=len(filled),
        )
    tool = programs.program("pg_restore", server_version=server)
    command = [tool, "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
    command += [f"--dbname={parameters['dbname']}", str(directory / DUMP)]
    restoring = programs.start(command, parameters)
    _, said = restoring.communicate()
    if restoring.returncode != 0:
        raise BackupFailed(f"pg_restore failed, nothing was kept: {said.strip()[:1000]}")
    with contents.session(parameters) as reading:
        compare(manifest, reading)
    return manifest


def _refuse_newer(manifest: dict[str, Any]) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    ours = {name for name in manifest["migrations"] if name.split(".")[0] in settings.OWN_APPS}
    unknown = sorted(ours - known)
    if unknown:
        raise BackupFailed(
            f"This backup is of Lemnos {manifest['version']}, which is newer: {unknown[0]} is"
            " unknown here.",
            remedy="Restore it with the version that made it, or a later one.",
        )


def compare(manifest: dict[str, Any], reading: Any) -> None:
    """Raises BackupDamaged naming the first difference."""
    found = contents.tables(reading)
    for name, told in manifest["tables"].items():
        if name not in found:
            raise BackupDamaged(f"Table {name} is missing.", table=name)
        if found[name]["rows"] != told["rows"]:
            raise BackupDamaged(
                f"Table {name} has {found[name]['rows']} rows, should have {told['rows']}.",
                table=name,
            )
        if found[name]["hash"] != told["hash"]:
            raise BackupDamaged(f"Rows of table {name} differ from those backed up.", table=name)
    if surplus := sorted(set(found) - set(manifest["tables"])):
        raise BackupDamaged(f"Table {surplus[0]} was not backed up.", table=surplus[0])
    if (head := contents.ledger_head(reading)) != manifest["ledger"]:
        raise BackupDamaged(f"The ledger ends at {head}, should at {manifest['ledger']}.")
