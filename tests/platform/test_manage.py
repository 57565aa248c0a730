"""script/manage: backups of a whole installation, beside its server and without one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.platform.conftest import BRIEF, FOREIGN, ROOT, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def manage(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LEMNOS_") and name not in FOREIGN
    }
    own = {"LEMNOS_DATA_DIR": str(data_dir), "LEMNOS_PORT": str(free_port()), **BRIEF}
    return subprocess.run(
        [ROOT / "script" / "manage", *arguments],
        env={**kept, **own},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_backup_beside_the_server_fills_another_installation(running, tmp_path):
    running.until(running.ready)
    made = manage(running.data_dir, "backup", "--to", str(tmp_path / "safe"))
    backup = made.stdout.strip().splitlines()[-1]
    refused = manage(running.data_dir, "restore", backup)
    # The database's own user must be able to go there.
    other = running.data_dir.with_name(f"{running.data_dir.name}-restored")
    other.mkdir(mode=0o700)
    try:
        shutil.copytree(running.data_dir / "secrets", other / "secrets")

        restored = manage(other, "restore", backup)
        proved = manage(other, "audit_verify")

        assert (made.returncode, restored.returncode, proved.returncode) == (0, 0, 0), (
            made.stderr + restored.stderr + proved.stderr
        )
        assert "equal to what was backed up" in restored.stdout
        assert refused.returncode == 1
        assert "tables already" in refused.stderr
        assert not (other / "pg" / "data" / "postmaster.pid").exists()
        assert running.status("/readyz") == 200
    finally:
        shutil.rmtree(other)
